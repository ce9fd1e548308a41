"""Headers of answers, as they are described."""

from __future__ import annotations

from firecrest.api.http.endpoint import Header

#: Headers that say which kind of failure it was (Contract: rest-v1 §4.4).
ERRORS = {
    "X-A-Directory": Header(
        "A file was expected and a directory is there.",
        "path is a directory, can't checksum directories",
    ),
    "X-Error": Header("Any other failure, in the words of the machine.", "No space left on device"),
    "X-Exists": Header("What was to be made is there already.", "targetPath already exists"),
    "X-Invalid-Group": Header("There is no such group.", "group is an invalid group"),
    "X-Invalid-Mode": Header("The permissions cannot be understood.", "mode is an invalid mode"),
    "X-Invalid-Owner": Header("There is no such user.", "owner is an invalid user"),
    "X-Invalid-Path": Header("Nothing is at this path.", "/home/alice/none is an invalid path"),
    "X-Machine-Does-Not-Exist": Header(
        "No machine of this name is configured.", "Machine does not exist"
    ),
    "X-Machine-Does-Not-Exists": Header("The same, for older clients.", "Machine does not exists"),
    "X-Machine-Not-Available": Header("The machine cannot be reached.", "Machine is not available"),
    "X-Not-A-Directory": Header("A directory was expected.", "targetPath is not a directory"),
    "X-Not-Found": Header("The source, or the pattern, was not found.", "sourcePath not found"),
    "X-Permission-Denied": Header(
        "The user may not do this on the machine.",
        "User does not have permissions to access machine or path",
    ),
    "X-Sbatch-Error": Header("The batch system refused the job.", "invalid account"),
    "X-Size-Limit": Header("A file or an output is over its limit.", "File exceeds size limit"),
    "X-Timeout": Header(
        "The command took longer than it may.", "Command has finished with timeout signal"
    ),
}
REQUEST_ID = {"X-Request-ID": Header("Names the request in the logs.", "5f3c9b1d2a7e4c60")}
#: Of requests too many (Contract: rest-v1 §1.6).
LIMITS = {
    "Retry-After": Header("Seconds to wait.", "1"),
    "RateLimit-Limit": Header("Requests that may be made at once.", "20"),
    "RateLimit-Remaining": Header("Requests that are left.", "0"),
    "RateLimit-Reset": Header("Seconds until there is room again.", "1"),
}
CHALLENGE = {"WWW-Authenticate": Header("What kind of token is wanted.", "Bearer")}
REPLAYED = {
    "Idempotent-Replayed": Header("This is the receipt of an earlier request of this key.", "true")
}
PREFERENCE = {"Preference-Applied": Header("The wait that counted.", "wait=30")}
FILE = {
    "Content-Disposition": Header("The name of the file.", "attachment; filename=data.txt"),
    "ETag": Header("Names this state of the file.", '"1f-69f5c8a0"'),
    "Last-Modified": Header("When the file was changed.", "Sat, 02 May 2026 10:00:00 GMT"),
    "Accept-Ranges": Header("A range of bytes may be asked for.", "bytes"),
    "Digest": Header(
        "The SHA-256 of the file, where it was wanted.",
        "sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    ),
    "Content-Digest": Header(
        "The SHA-256 of the content, where it was wanted.",
        "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    ),
}
RANGE = {"Content-Range": Header("Which bytes these are, and of how many.", "bytes 0-99/120")}
DEPRECATED = {
    "Deprecation": Header("Since when the service is deprecated.", "@1711111630"),
    "Sunset": Header("When it ends, where the site says so.", "Thu, 31 Dec 2026 23:59:59 GMT"),
}
ALL = {
    **ERRORS,
    **REQUEST_ID,
    **LIMITS,
    **CHALLENGE,
    **REPLAYED,
    **PREFERENCE,
    **FILE,
    **RANGE,
    **DEPRECATED,
}
