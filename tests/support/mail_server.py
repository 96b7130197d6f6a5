"""A mail server: PORT TLS CERTIFICATE KEY FOLDER. Each letter is a file in FOLDER. User `drctl`, password `mail-pw`."""

import pathlib
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

port, tls, certificate, key, folder = sys.argv[1:]


class Handler:
    count = 0

    async def handle_DATA(self, server, session, envelope):
        Handler.count += 1
        path = pathlib.Path(folder) / f"{Handler.count:03}.eml"
        path.with_suffix(".part").write_bytes(envelope.content)
        path.with_suffix(".part").rename(path)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, auth_data):
    good = auth_data.login == b"drctl" and auth_data.password == b"mail-pw"
    return AuthResult(success=good, handled=good)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
options = {"authenticator": authenticate, "auth_required": tls != "none"}
if tls == "starttls":
    options |= {"tls_context": context, "require_starttls": True}
elif tls == "implicit":
    options |= {"ssl_context": context, "auth_require_tls": False}
controller = Controller(Handler(), hostname="127.0.0.1", port=int(port), **options)
controller.start()
threading.Event().wait()
