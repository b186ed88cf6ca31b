"""The port: limits on what a client may use before any route, key or parser is involved.

The limits also hold for the bare command `uvicorn api.main:app`, so they cannot be flags of a
command line. They apply between the socket and the server's own protocol. `guarded_port` wraps
`create_server` of the running loop when the application's lifespan begins, which is before the
server binds.

Two alternatives were rejected. Subclasses of uvicorn's protocols would be needed for
httptools, h11 and three kinds of WebSockets. Uvicorn also chooses the protocol before it imports
the application. Patched classes would change every server of the process.

The wrapper relies only on asyncio's contract for transports and protocols, and on one property of
uvicorn: its protocols call their attribute `app` for each request.
`tests/unit/api/test_port_server.py` fails when this property changes.

`places` counts connections and chooses which one is ended, `heads` finds the end of headers,
`guard` is the connection, `limits` holds the limits, and `listening` installs the guard.
"""

from api.port.listening import guarded_port

__all__ = ["guarded_port"]
