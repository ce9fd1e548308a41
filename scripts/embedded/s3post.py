"""Uploads by HTML form for Swift: S3's "POST Object", which Swift's own s3api lacks.

A WSGI filter placed before s3api. It verifies the signature of the policy,
its expiry and each of its conditions, then passes the file on as a PUT that
it signs with the same key. Other requests go through untouched.

The key pair comes from the filter's section: `access_key`, `secret_key`.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from xml.sax.saxutils import escape

from scripts.embedded.s3form import Form, FormReader, MalformedError, boundary_of

ALGORITHM = "AWS4-HMAC-SHA256"
REQUIRED = ("policy", "key", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
UNCONDITIONED = {"file", "policy", "x-amz-signature"}
"""Fields that the policy need not speak of."""
PASSED_ON = ("cache-control", "content-disposition", "content-encoding", "expires")
"""Fields that become headers of the object."""
Headers = list[tuple[str, str]]


class RefusedError(Exception):
    """An answer that ends the request, in S3's words."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @classmethod
    def denied(cls, message: str, code: str = "AccessDenied") -> "RefusedError":
        """403."""
        return cls("403 Forbidden", code, message)

    @classmethod
    def bad(cls, code: str, message: str) -> "RefusedError":
        """400."""
        return cls("400 Bad Request", code, message)

    def body(self) -> bytes:
        """S3's error document."""
        code, message = self.code, escape(str(self))
        return _xml(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")


@dataclass(frozen=True)
class Signer:
    """Signature version 4 with one key pair in one region."""

    access_key: str
    secret_key: str
    region: str

    def sign(self, date: str, text: str) -> str:
        """Signature of `text` with the key of that day (``YYYYMMDD``)."""
        key = b"AWS4" + self.secret_key.encode()
        for word in (date, self.region, "s3", "aws4_request"):
            key = _hmac(key, word)
        return _hmac(key, text).hex()

    def scope(self, date: str) -> str:
        """Credential scope of that day."""
        return f"{date}/{self.region}/s3/aws4_request"

    def verify(self, form: Form) -> None:
        """Raise `RefusedError` unless the form's policy was signed with this key pair."""
        for name in REQUIRED:
            if name not in form.fields:
                raise RefusedError.denied(f"field {name} is missing")
        fields = form.fields
        access_key, _, scope = fields["x-amz-credential"].partition("/")
        date = fields["x-amz-date"][:8]
        if fields["x-amz-algorithm"] != ALGORITHM or scope != self.scope(date):
            raise RefusedError.denied("algorithm or credential scope")
        if access_key != self.access_key:
            raise RefusedError.denied("unknown access key", "InvalidAccessKeyId")
        if not hmac.compare_digest(self.sign(date, fields["policy"]), fields["x-amz-signature"]):
            raise RefusedError.denied("signature", "SignatureDoesNotMatch")

    def authorization(self, path: str, headers: Mapping[str, str], timestamp: str) -> str:
        """`Authorization` of a PUT with an unsigned body and exactly these headers."""
        names = ";".join(sorted(headers))
        lines = [f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)]
        request = "\n".join(["PUT", path, "", *lines, "", names, "UNSIGNED-PAYLOAD"])
        scope = self.scope(timestamp[:8])
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join([ALGORITHM, timestamp, scope, digest])
        signature = self.sign(timestamp[:8], text)
        credential = f"{self.access_key}/{scope}"
        return f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"


class Policy:
    """What the signer of a form allows its bearer to do."""

    def __init__(self, encoded: str) -> None:
        try:
            document = json.loads(base64.b64decode(encoded, validate=True))
            self._expiration = datetime.fromisoformat(document["expiration"])
            self._conditions = [_condition(entry) for entry in document["conditions"]]
        except (binascii.Error, ValueError, TypeError, KeyError, IndexError) as error:
            raise RefusedError.bad("InvalidPolicyDocument", "unreadable policy") from error

    def check(self, form: Form, bucket: str) -> None:
        """Raise `RefusedError` unless this upload is allowed now."""
        if self._expiration.astimezone(UTC) < datetime.now(UTC):
            raise RefusedError.denied("Invalid according to Policy: Policy expired.")
        values = {**form.fields, "key": form.key, "bucket": bucket}
        for operator, name, operand in self._conditions:
            if operator == "content-length-range":
                _check_size(form.size, int(name), int(operand))
            elif not _holds(operator, values.get(name), str(operand)):
                text = f'["{operator}", "${name}", "{operand}"]'
                raise RefusedError.denied(
                    f"Invalid according to Policy: Policy Condition failed: {text}"
                )
        spoken_of = {name for _, name, _ in self._conditions} | UNCONDITIONED
        for name in form.fields:
            if name not in spoken_of and not name.startswith("x-ignore-"):
                raise RefusedError.denied(
                    f"Invalid according to Policy: Extra input fields: {name}"
                )


def _condition(entry: Any) -> tuple[str, str, Any]:
    """Both spellings, ``{"key": "x"}`` and ``["eq", "$key", "x"]``, as a triple."""
    if isinstance(entry, dict):
        ((name, operand),) = entry.items()
        return "eq", str(name).lower(), operand
    operator, name, operand = entry
    return str(operator).lower(), str(name).lower().removeprefix("$"), operand


def _holds(operator: str, value: str | None, operand: str) -> bool:
    if value is None:
        return False
    return {"eq": value == operand, "starts-with": value.startswith(operand)}.get(operator, False)


def _check_size(size: int, least: int, most: int) -> None:
    if size < least:
        raise RefusedError.bad("EntityTooSmall", "the file is smaller than the policy allows")
    if size > most:
        raise RefusedError.bad("EntityTooLarge", "the file is larger than the policy allows")


@dataclass(frozen=True)
class Stored:
    """What s3api answered to the PUT."""

    status: str
    headers: Headers
    body: bytes

    @property
    def etag(self) -> str:
        """As sent by s3api, with its quotes."""
        return next((value for name, value in self.headers if name.lower() == "etag"), "")


class S3Post:
    """The filter."""

    def __init__(self, app: WSGIApplication, signer: Signer) -> None:
        self._app = app
        self._signer = signer

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        bucket = environ.get("PATH_INFO", "").strip("/")
        content_type = environ.get("CONTENT_TYPE", "")
        is_form = content_type.lower().startswith("multipart/form-data")
        if environ["REQUEST_METHOD"] != "POST" or not is_form or not bucket or "/" in bucket:
            return self._app(environ, start)
        try:
            return self._upload(environ, start, bucket)
        except MalformedError as error:
            refused = RefusedError.bad("MalformedPOSTRequest", str(error))
        except RefusedError as error:
            refused = error
        # the file may be unread: the connection is of no further use
        headers = [("Content-Type", "application/xml"), ("Connection", "close")]
        return _answer(start, refused.status, headers, refused.body())

    def _upload(
        self, environ: WSGIEnvironment, start: StartResponse, bucket: str
    ) -> Iterable[bytes]:
        if not environ.get("CONTENT_LENGTH"):
            raise RefusedError(
                "411 Length Required", "MissingContentLength", "Content-Length needed"
            )
        boundary = boundary_of(environ["CONTENT_TYPE"])
        length = int(environ["CONTENT_LENGTH"])
        form = FormReader(environ["wsgi.input"], length, boundary).read()
        self._signer.verify(form)
        Policy(form.fields["policy"]).check(form, bucket)
        if not form.key:
            raise MalformedError("empty key")
        path = f"/{quote(bucket, safe='')}/{quote(form.key, safe='/~')}"
        stored = self._put(environ, form, bucket, path)
        if form.file.broken:
            raise MalformedError("the file must be the last part of the form")
        if not stored.status.startswith("200"):
            return _answer(start, stored.status, stored.headers, stored.body)
        form.file.finish()
        location = f"{environ.get('wsgi.url_scheme', 'http')}://{environ['HTTP_HOST']}{path}"
        return _success(start, form, bucket, location, stored.etag)

    def _put(self, environ: WSGIEnvironment, form: Form, bucket: str, path: str) -> Stored:
        """Pass the file on to s3api."""
        answer: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, exc_info: object = None) -> Callable[..., object]:
            answer.append((status, headers))
            return lambda data: None

        body = b"".join(self._app(self._put_environ(environ, form, bucket, path), start))
        status, headers = answer[-1]
        return Stored(status, headers, body)

    def _put_environ(
        self, environ: WSGIEnvironment, form: Form, bucket: str, path: str
    ) -> WSGIEnvironment:
        """The request that s3api sees: the same connection, other headers."""
        timestamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "host": environ["HTTP_HOST"],
            "content-type": form.fields.get("content-type")
            or form.file_type
            or "application/octet-stream",
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            "x-amz-date": timestamp,
        }
        headers |= {
            name: value
            for name, value in form.fields.items()
            if name.startswith("x-amz-meta-") or name in PASSED_ON
        }
        # headers_raw holds the headers as they came: s3api would sign those instead
        kept = {
            name: value
            for name, value in environ.items()
            if name != "headers_raw" and (not name.startswith("HTTP_") or name == "HTTP_ORIGIN")
        }
        sent = {f"HTTP_{name.upper().replace('-', '_')}": v for name, v in headers.items()}
        content_type = sent.pop("HTTP_CONTENT_TYPE")
        return {
            **kept,
            **sent,
            "REQUEST_METHOD": "PUT",
            "PATH_INFO": f"/{bucket}/{form.key}".encode().decode("latin-1"),
            "RAW_PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(form.size),
            "HTTP_AUTHORIZATION": self._signer.authorization(path, headers, timestamp),
            "wsgi.input": form.file,
        }


def _success(
    start: StartResponse, form: Form, bucket: str, location: str, etag: str
) -> Iterable[bytes]:
    """S3's answers: a redirect, a document, or nothing, as the form asked for."""
    headers = [("ETag", etag), ("Location", location)]
    if redirect := form.fields.get("success_action_redirect"):
        return _answer(start, "303 See Other", [("ETag", etag), ("Location", redirect)])
    match form.fields.get("success_action_status"):
        case "200":
            return _answer(start, "200 OK", headers)
        case "201":
            values = {"Location": location, "Bucket": bucket, "Key": form.key, "ETag": etag}
            inner = "".join(f"<{name}>{escape(v)}</{name}>" for name, v in values.items())
            body = _xml(f"<PostResponse>{inner}</PostResponse>")
            headers.append(("Content-Type", "application/xml"))
            return _answer(start, "201 Created", headers, body)
        case _:
            start("204 No Content", headers)
            return [b""]


def _answer(
    start: StartResponse, status: str, headers: Headers, body: bytes = b""
) -> Iterable[bytes]:
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start(status, [*kept, ("Content-Length", str(len(body)))])
    return [body]


def _xml(content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{content}'.encode()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def filter_factory(
    _global: Mapping[str, str], **section: str
) -> Callable[[WSGIApplication], S3Post]:
    """Entry point for paste.deploy; `section` holds the options of the filter's section."""
    signer = Signer(section["access_key"], section["secret_key"], section["region"])
    return lambda app: S3Post(app, signer)
