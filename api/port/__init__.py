"""The port: how long, how much and how many a client may hold of it before any route, key or parser
is asked.

The limits hold for the bare command `uvicorn api.main:app`, so they cannot be flags of a command
line. They stand between the socket and the server's own protocol: `guarded_port` wraps
`create_server` of the running loop while the application's lifespan is entered, which is before the server binds. This way was chosen over two others. Subclasses of uvicorn's protocols would be needed once for each of httptools,
h11 and three kinds of WebSockets, and uvicorn chooses among them before it imports the application.
Patched classes would change every
server of the process. The wrapper needs only what asyncio promises of transports and protocols, and
one thing of uvicorn: that its protocols call the attribute `app` for each request.
`tests/unit/api/test_port_server.py` fails when that changes.

`places` counts connections and chooses which one goes, `heads` finds the end of headers, `guard` is
the connection, `listening` the rest.
"""

from api.port.listening import guarded_port

__all__ = ["guarded_port"]
