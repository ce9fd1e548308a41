"""The settings of the entrance: the listener, and who may come in under which name."""

from __future__ import annotations

from pathlib import Path

from marshmallow import fields, validate

from firecrest.config import values
from firecrest.config.values import Secret
from firecrest.schema import Declared, item, listing, section

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "HS256")
"""Signature algorithms of tokens; HS256 needs a secret instead of keys (Contract: auth §2)."""


class Cors(Declared):
    """Which web pages may call the server (Contract: rest-v1 §1.4)."""

    origins: tuple[str, ...] = item(
        fields.List(fields.String(validate=values.cors_origin), post_load=tuple),
        default=("*",),
        help="origins answered with CORS headers; * means any",
    )
    max_age: int = item(
        values.whole(0), default=3600, help="seconds a browser may keep a preflight answer"
    )


class ServiceRates(Declared):
    """Requests of one user per second, by service; never below what clients make by default."""

    status: float = item(values.rate(10), default=50.0, help="to /status")
    utilities: float = item(values.rate(10), default=50.0, help="to /utilities")
    compute: float = item(values.rate(1), default=20.0, help="to /compute")
    storage: float = item(values.rate(10), default=20.0, help="to /storage")
    tasks: float = item(values.rate(10), default=100.0, help="to /tasks")
    reservations: float = item(values.rate(10), default=10.0, help="to /reservations")
    events: float = item(
        values.rate(1), default=20.0, help="to /events, and messages on its connections"
    )


class RateLimit(Declared):
    """How many requests a user may make (Contract: rest-v1 §1.6)."""

    enabled: bool = item(
        fields.Boolean(), default=False, help="whether requests are counted, in each process"
    )
    burst: float = item(
        values.seconds(), default=5.0, help="seconds whose requests may come all at once"
    )
    per_service: ServiceRates = section(ServiceRates, default=ServiceRates())


class MetricsPage(Declared):
    """What Prometheus collects."""

    enabled: bool = item(
        fields.Boolean(), default=True, help="whether there is /metrics; it needs no token"
    )
    networks: tuple[str, ...] = item(
        fields.List(values.required_text(values.network), post_load=tuple),
        default=(
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            *("::1/128", "fc00::/7"),
        ),
        help="addresses or networks that may read it; what an unknown proxy passed on may not",
    )


class Tls(Declared):
    """TLS without a proxy (Contract: config §1)."""

    cert: Path | None = item(
        values.PathField(),
        default=None,
        help="certificate with those that lead to its authority, PEM; null: plain HTTP",
    )
    key: Path | None = item(
        values.PathField(), default=None, help="its key, PEM; only its owner may read it"
    )
    interval: float = item(
        values.seconds(), default=2.0, help="seconds between looks whether the files have changed"
    )


class Timeouts(Declared):
    """How slow a client may be."""

    headers: float = item(
        values.seconds(), default=10.0, help="seconds for a handshake, and for line and headers"
    )
    body: float = item(
        values.seconds(),
        default=30.0,
        help="seconds in which 1 KiB of a body must come, and something of an answer be taken",
    )


class Server(Declared):
    """The one listener (Contract: config §1)."""

    host: str = item(values.required_text(), default="127.0.0.1", help="address to listen on")
    port: int = item(values.whole(0, 65535), default=8000, help="TCP port; 0 picks a free one")
    public_url: str = item(
        values.text(values.origin),
        default="",
        help="origin clients use, prefix of task_url; empty: taken from each request",
    )
    trusted_proxies: tuple[str, ...] = item(
        fields.List(values.required_text(values.network), post_load=tuple),
        default=(),
        help="addresses or networks of proxies whose X-Forwarded-* headers are believed",
    )
    docs: bool = item(
        fields.Boolean(),
        default=True,
        help="whether /docs, /openapi.json and /asyncapi.json describe the API, to everybody",
    )
    metrics: MetricsPage = section(MetricsPage, default=MetricsPage())
    tls: Tls = section(Tls, default=Tls())
    timeouts: Timeouts = section(Timeouts, default=Timeouts())
    cors: Cors = section(Cors, default=Cors())
    rate_limit: RateLimit = section(RateLimit, default=RateLimit())
    drain: float = item(
        values.seconds(zero=True),
        default=0.0,
        help="seconds for which a server told to stop still takes requests while /health/ready"
        " says no, so that load balancers notice",
    )
    shutdown_grace: float = item(
        values.seconds(zero=True),
        default=10.0,
        help="seconds given to running requests and task steps when the server stops",
    )

    @property
    def pages(self) -> frozenset[str]:
        """Origins of web pages that may call the server, with its own console's where known."""
        return frozenset({*self.cors.origins, self.public_url} - {""})


class Console(Declared):
    """The web page at ``/console``."""

    enabled: bool = item(
        fields.Boolean(), default=True, help="whether it is served; it asks for a token itself"
    )
    issuer: str = item(
        values.text(values.secure_url),
        default="",
        help="one of auth.issuers, at whose page users sign in; https, or http on this machine;"
        " empty: they paste tokens",
    )
    client_id: str = item(
        values.text(),
        default="",
        help="the public client that this page is there, with <public url>/console as its"
        " redirect URI; required with issuer",
    )
    scope: str = item(
        values.required_text(), default="openid", help="what is asked for there, words with blanks"
    )


class Issuer(Declared):
    """Somebody whose tokens are accepted (Contract: auth §2)."""

    issuer: str = item(values.required_text(), help="the claim iss, byte for byte")
    algorithm: str = item(
        fields.String(validate=validate.OneOf(ALGORITHMS)),
        default="RS256",
        help="the only signature algorithm accepted from this issuer",
    )
    public_keys: tuple[str, ...] = item(
        fields.List(values.required_text(), post_load=tuple),
        default=(),
        help="public keys, each as PEM or as the bare base64 body; several during a rotation",
    )
    jwks_url: str = item(
        values.text(values.secure_url),
        default="",
        help="where the issuer publishes its keys as JWKS; https, or http on this machine",
    )
    discovery: bool = item(
        fields.Boolean(),
        default=False,
        help="whether the issuer's OpenID discovery tells where its keys are",
    )
    secret: Secret = item(
        values.SecretField(), default=Secret(""), help="shared secret, only with HS256"
    )
    audience: str = item(
        values.text(), default="", help="word the claim aud must contain; empty: not checked"
    )


class Auth(Declared):
    """Who may come in, and under which name (Contract: auth §1-§4)."""

    header_name: str = item(
        values.required_text(), default="Authorization", help="header carrying Bearer <token>"
    )
    issuers: tuple[Issuer, ...] = listing(Issuer)
    required_scope: str = item(
        values.text(), default="", help="word the claim scope must contain; empty: not checked"
    )
    service_account_role: str = item(
        values.text(),
        default="",
        help="realm role that marks service accounts; empty: there are none",
    )
    keys_refresh: float = item(
        values.seconds(),
        default=3600.0,
        help="seconds between looks for published keys that have gone; new ones are found at once",
    )
    leeway: float = item(
        values.seconds(zero=True),
        default=0.0,
        help="seconds by which the clocks of issuers may differ",
    )
    username_pattern: str = item(
        values.required_text(values.pattern),
        default="[A-Za-z_][A-Za-z0-9_.-]{0,63}",
        help="regular expression a whole user name must match",
    )
    denied_users: tuple[str, ...] = item(
        fields.List(values.required_text(), post_load=tuple),
        default=("root",),
        help="user names never accepted, in which nothing is ever done",
    )
    revoked_file: Path | None = item(
        values.PathField(),
        default=None,
        help="list of revoked tokens and users, heeded as soon as it changes; null: there is none",
    )
    revoked_refresh: float = item(
        values.seconds(), default=5.0, help="seconds between looks whether the list has changed"
    )
    allow_unverified: bool = item(
        fields.Boolean(),
        default=False,
        help="for tests only: signatures, issuers and audiences of tokens are not checked",
    )
    allow_unverified_anywhere: bool = item(
        fields.Boolean(),
        default=False,
        help="whether that is allowed where others than this machine can reach the server",
    )


class Opa(Declared):
    """The Open Policy Agent that says who may use which system (Contract: auth §5)."""

    enabled: bool = item(
        fields.Boolean(), default=False, help="whether it is asked before anything is done"
    )
    url: str = item(values.text(values.origin), default="http://localhost:8181", help="its origin")
    policy_path: str = item(
        values.required_text(), default="v1/data/f7t/authz", help="path of the policy"
    )
    timeout: float = item(values.seconds(), default=2.0, help="seconds an answer may take")
    ca_file: Path | None = item(
        values.PathField(), default=None, help="its certificate authority; null: the system's"
    )
    remember: float = item(
        values.at_most(30.0),
        default=10.0,
        help="seconds for which a permission is used again, at most 30; refusals never are",
    )
