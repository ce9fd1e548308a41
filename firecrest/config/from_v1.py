"""From the environment of FirecREST v1 to the text of a ``config.yaml``.

No secret is copied: the configuration refers to it by the name it has in the environment. What
has no counterpart, or needs somebody who knows the site, is told in remarks.

Contract: config §1-§6, with v1's rules: ``;`` joins a list whose positions are the systems, and a
boolean is true as ``true``, ``yes`` or ``1`` in any case.
"""

from __future__ import annotations

import ast
import json
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from firecrest.config.entrance import ALGORITHMS
from firecrest.config.env_file import EnvFile
from firecrest.config.from_v1_table import DROPPED, PER_SYSTEM, SCALARS, Kind, Row
from firecrest.config.from_v1_text import written
from firecrest.config.settings import Settings
from firecrest.schema import items

_TRUE = ("true", "yes", "1")
_OFF = ("", "null", "none")
_ADDRESSES = "F7T_SYSTEMS_INTERNAL_ADDR"
_FAMILIES = tuple(
    f"F7T_SYSTEMS_INTERNAL_{family}_ADDR"
    for family in ("COMPUTE", "UTILITIES", "STORAGE", "STATUS")
)
_KEYS = ("F7T_AUTH_PUBLIC_KEYS", "F7T_REALM_RSA_PUBLIC_KEYS")
_ALGORITHMS = ("F7T_AUTH_ALGORITHMS", "F7T_REALM_RSA_TYPE")
_ISSUERS = ("F7T_AUTH_ISSUER", "F7T_AUTH_TOKEN_ISSUER")
_KNOWN_HOSTS = "/etc/firecrest/known_hosts"


class Converted(Struct, frozen=True):
    """A configuration, and what whoever takes it over should know.

    :ivar text: of the file, with the remarks as comments
    :ivar attention: what somebody must look at, a line each
    :ivar dropped: what was left behind, and why, a line each
    """

    text: str
    attention: tuple[str, ...]
    dropped: tuple[str, ...]


def convert(environment: EnvFile, source: str) -> Converted:
    """Make the configuration; whether it can be used is for whoever reads it to check.

    :param source: what the environment was read from, for the first comment
    """
    work = _Conversion(environment)
    data = work.run()
    order = [declared.name for declared in items(Settings)]
    ordered = {name: data[name] for name in sorted(data, key=order.index)}
    return Converted(
        written(source, ordered, work.attention, work.dropped),
        tuple(work.attention),
        tuple(work.dropped),
    )


def declared(key: str) -> bool:
    """Whether there is such a setting; list positions are left out of ``key``."""
    cls: type[Any] | None = Settings
    for name in key.split("."):
        found = {one.name: one for one in items(cls)} if cls else {}
        if name not in found:
            return False
        cls = found[name].nested
    return True


class _Conversion:
    """One environment on its way; each part takes the variables it knows out of what is left."""

    def __init__(self, environment: EnvFile) -> None:
        self._environment = environment
        self._left = dict(environment.values)
        self._data: dict[str, Any] = {}
        self.attention: list[str] = []
        self.dropped: list[str] = []

    def run(self) -> dict[str, Any]:
        for name in sorted(self._environment.repeated):
            self._attend(f"{name}: given more than once, the last one counts")
        self._general()
        self._auth()
        self._systems()
        self._storage()
        self._scalars()
        self._ssh()
        self._services()
        self._rest()
        return self._data

    # -- parts -------------------------------------------------------------------------

    def _general(self) -> None:
        if self._switch(self._take("F7T_DEBUG_MODE")):
            self._set("logging.level", "debug")
        if self._take("F7T_LOG_TYPE").lower() == "file":
            self._attend("F7T_LOG_TYPE: the log goes to standard error, let the service keep it")
        text = self._take("F7T_GENERAL_INFORMATION")
        try:
            told = json.loads(text) if text else {}
        except ValueError:
            told = None
        if not isinstance(told, dict):
            self._attend(
                "F7T_GENERAL_INFORMATION: not a JSON object; general is left at its default"
            )
            return
        for name, key in {"FIRECREST_VERSION": "version", "FIRECREST_BUILD": "build"}.items():
            if told.get(name):
                self._set(f"general.{key}", str(told[name]))

    def _auth(self) -> None:
        keys = _listed(self._first(_KEYS))
        key_name = next((name for name in _KEYS if self._environment.values.get(name)), _KEYS[0])
        algorithms = _listed(self._first(_ALGORITHMS)) or ["RS256"]
        issuers = _listed(self._first(_ISSUERS))
        audience = self._take("F7T_AUTH_TOKEN_AUD")
        if len(algorithms) == 1:
            algorithms *= max(len(keys), 1)
        if not issuers:
            self._attend(
                "auth.issuers.0.issuer: v1 accepted tokens of every issuer; write the claim iss of"
                " yours in the place of https://issuer.invalid"
            )
            issuers = ["https://issuer.invalid"]
        if len(issuers) == 1:
            issuers *= max(len(keys), 1)
        if keys and not len(keys) == len(algorithms) == len(issuers):
            self._attend(f"{key_name}: keys, algorithms and issuers are not equally many")
        made: dict[str, dict[str, Any]] = {}
        for issuer, algorithm, key in zip(issuers, algorithms, keys or [""], strict=False):
            entry = made.setdefault(issuer, {"issuer": issuer, "algorithm": algorithm})
            if algorithm == "HS256":
                entry["secret"] = self._reference(key_name)
                if len(keys) > 1:
                    self._attend(f"{key_name}: a list of secrets, of which {issuer} has one")
            elif entry["algorithm"] != algorithm:
                self._attend(
                    f"{key_name}: {issuer} has one algorithm here: its {algorithm} key is left out"
                )
            elif key:
                entry.setdefault("public_keys", []).append(key)
            else:
                entry["discovery"] = True
                self._attend(
                    "auth.issuers.0: v1 did not check signatures; here the OpenID discovery of the"
                    " issuer tells its keys, or give public_keys or jwks_url"
                )
            if algorithm not in ALGORITHMS:
                self._attend(f"auth.issuers: {algorithm} is none of {', '.join(ALGORITHMS)}")
            if audience:
                entry["audience"] = audience
        self._set("auth.issuers", list(made.values()))

    def _systems(self) -> None:
        names = _listed(self._take("F7T_SYSTEMS_PUBLIC_NAME"))
        addresses = self._addresses(len(names))
        filesystems = self._filesystems()
        columns = {
            name: self._column(name, len(names)) for name in PER_SYSTEM if name in self._left
        }
        spank = self._spank(len(names))
        systems: dict[str, dict[str, Any]] = {}
        for position, name in enumerate(names):
            if name in systems:
                self._attend(
                    f"F7T_SYSTEMS_PUBLIC_NAME: {name} is named twice, the first one counts"
                )
                continue
            system: dict[str, Any] = {"name": name}
            if position < len(addresses):
                system["address"] = addresses[position]
            if filesystems.get(name):
                system["filesystems"] = filesystems[name]
            for variable, values in columns.items():
                self._put(system, PER_SYSTEM[variable], values, position)
            if spank[position]:
                system.setdefault("scheduler", {})["submit_options"] = [spank[position]]
            if "base_fs" not in system.get("scheduler", {}):
                system.setdefault("scheduler", {})["base_fs"] = "/home"
                self._attend(
                    f"systems: {name}: scheduler.base_fs is not set in v1's file, /home is taken"
                )
            systems[name] = system
        for stranger in sorted(set(filesystems) - set(names)):
            self._attend(f"F7T_FILESYSTEMS: {stranger} is no system of F7T_SYSTEMS_PUBLIC_NAME")
        self._set("systems", list(systems.values()))

    def _addresses(self, count: int) -> list[str]:
        given = {name: _listed(self._take(name)) for name in (_ADDRESSES, *_FAMILIES)}
        name = next((name for name, found in given.items() if found), _ADDRESSES)
        addresses = given[name]
        if len(addresses) != count:
            self._attend(f"{name}: {len(addresses)} addresses for {count} systems")
        for other, found in given.items():
            if found and found != addresses:
                self._attend(f"{other}: differs from {name}, and each system has one address here")
        return addresses

    def _filesystems(self) -> dict[str, list[dict[str, str]]]:
        text = self._take("F7T_FILESYSTEMS")
        if not text:
            return {}
        try:
            told = ast.literal_eval(text)
            return {
                str(system): [
                    {
                        key: str(entry[key])
                        for key in ("name", "path", "description")
                        if key in entry
                    }
                    for entry in entries
                ]
                for system, entries in told.items()
            }
        except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
            self._attend(
                "F7T_FILESYSTEMS: not of the form {'SYSTEM': [{'name': …, 'path': …,"
                " 'description': …}]}; no file systems are set"
            )
            return {}

    def _spank(self, count: int) -> list[str]:
        enabled = self._column("F7T_SPANK_PLUGIN_ENABLED", count)
        options = self._column("F7T_SPANK_PLUGIN_OPTION", count)
        return [
            (option or "--nohome") if self._switch(on) else ""
            for on, option in zip(enabled, options, strict=True)
        ]

    def _storage(self) -> None:
        kind = self._take("F7T_OBJECT_STORAGE") or "s3v4"
        if kind != "s3v4":
            self._attend(f"F7T_OBJECT_STORAGE: {kind} is not offered, an S3 store is needed")

    def _scalars(self) -> None:
        for name, row in SCALARS.items():
            value = self._take(name)
            if value.lower() in row.absent:
                continue
            converted = self._value(name, row, value)
            if not declared(row.key):
                if converted:
                    self._attend(f"{name}: {row.key} is not offered by this version")
            elif converted is not None:
                self._set(row.key, converted)
        if "public_url" not in self._data.get("server", {}):
            host, port = self._take("F7T_GATEWAY_HOST"), self._take("F7T_GATEWAY_PORT")
            if host or port:
                self._attend(
                    "F7T_GATEWAY_HOST: set server.public_url to the origin clients use, or leave it"
                    " out: then it is taken from each request"
                )
        for name in ("F7T_GATEWAY_HOST", "F7T_GATEWAY_PORT"):
            self._take(name)

    def _ssh(self) -> None:
        if "ca_key_path" not in self._data.get("ssh", {}):
            self._set("ssh.ca_key_path", "/ca-key")
        self._set("ssh.known_hosts", _KNOWN_HOSTS)
        self._attend(
            f"ssh.known_hosts: v1 accepted every host key; write those of the systems to"
            f" {_KNOWN_HOSTS} (ssh-keyscan prints them, compare their fingerprints)"
        )

    def _services(self) -> None:
        reservations = self._data.get("reservations", {})
        services = self._data.get("status", {}).get("services", [])
        if "command" in reservations or "reservations" in services:
            self._set("reservations.enabled", True)
        if "F7T_JAEGER_AGENT" in self._left and self._take("F7T_JAEGER_AGENT"):
            self._attend("F7T_JAEGER_AGENT: nothing is sent to a Jaeger agent")

    def _rest(self) -> None:
        """What nobody took: dropped on purpose, or unknown."""
        for name, value in sorted(self._left.items()):
            if not name.startswith("F7T_"):
                continue
            why = next((why for form, why in DROPPED.items() if fnmatchcase(name, form)), None)
            if why is None:
                self._attend(f"{name}: unknown, and left out")
            elif value:
                self.dropped.append(f"{name}: {why}")

    # -- values ------------------------------------------------------------------------

    def _take(self, name: str) -> str:
        return self._left.pop(name, "").strip()

    def _first(self, names: tuple[str, ...]) -> str:
        return next(filter(None, [self._take(name) for name in names]), "")

    def _attend(self, remark: str) -> None:
        self.attention.append(remark)

    def _set(self, key: str, value: Any) -> None:
        *way, last = key.split(".")
        node = self._data
        for step in way:
            node = node.setdefault(step, {})
        node[last] = value

    def _put(self, system: dict[str, Any], row: Row, values: list[str], position: int) -> None:
        value = values[position]
        if value.lower() in _OFF:
            return
        section, _, key = row.key.partition(".")
        made = self._switch(value) if row.kind is Kind.SWITCH else value
        system.setdefault(section, {})[key] = made

    def _column(self, name: str, count: int) -> list[str]:
        """A value for each system: one given to all of them, or as many as there are."""
        text = self._take(name)
        values = [part.strip() for part in text.split(";")]
        if len(values) == 1:
            return values * count
        if len(values) != count:
            self._attend(f"{name}: {len(values)} values for {count} systems")
        return (values + [""] * count)[:count]

    def _value(self, name: str, row: Row, value: str) -> Any:
        match row.kind:
            case Kind.SECRET:
                return self._reference(name)
            case Kind.SWITCH:
                return self._switch(value)
            case Kind.WORDS:
                return _listed(value)
            case Kind.NUMBER:
                try:
                    return int(value)
                except ValueError:
                    self._attend(f"{name}: not a whole number; {row.key} is left at its default")
                    return None
            case Kind.ORIGIN:
                return self._origin(name, value)
            case Kind.TEXT:
                return value

    def _origin(self, name: str, value: str) -> str | None:
        parts = urlsplit(value)
        if not (parts.scheme and parts.netloc) or "@" in parts.netloc:
            self._attend(f"{name}: not a URL of scheme and host, and left out")
            return None
        if parts.path.rstrip("/") or parts.query:
            self._attend(f"{name}: only its origin is taken, without the path")
        return f"{parts.scheme}://{parts.netloc}"

    def _reference(self, name: str) -> dict[str, str]:
        if name in self._environment.quoted:
            self._attend(
                f"{name}: stands in quotes; what starts the server must take them off, as shells"
                " and systemd do"
            )
        return {"env": name}

    @staticmethod
    def _switch(value: str) -> bool:
        return value.lower() in _TRUE


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]
