"""The environment variables that each program started by `infra` inherits, with reasons.

All other variables, above all secrets, are not passed on.
"""

from __future__ import annotations

from core.child_environment import inherited
from core.config.processes import variables_read_by

_ANY = {
    "PATH": "programs that it starts itself",
    "LD_LIBRARY_PATH": "shared libraries of Python and Node installations outside the system's",
    "DYLD_LIBRARY_PATH": "the same on macOS",
    "HOME": "caches and files of settings",
    "TMPDIR": "the folder of temporary files",
    "LANG": "the encoding of file names and messages",
    "LC_*": "the same, by category",
    "TZ": "times in logs",
}
_NETWORK = {
    "HTTP_PROXY": "networks that require a proxy",
    "HTTPS_PROXY": "the same",
    "NO_PROXY": "the same",
    "ALL_PROXY": "the same",
    "all_proxy": "the same",
    "http_proxy": "the same",
    "https_proxy": "the same",
    "no_proxy": "the same",
    "SSL_CERT_FILE": "certificates of a network that inspects TLS",
    "SSL_CERT_DIR": "the same",
}
_NPM = {
    "npm_config_*": "a registry of the user's own, and the way there",
    "NPM_CONFIG_*": "the same",
    "NODE_EXTRA_CA_CERTS": "certificates for Node",
}
_MUSTER = {
    "PYTHONPATH": "packages that are installed beside the virtual environment",
    "XDG_DATA_HOME": "the default data folder",
    "XDG_CACHE_HOME": "the caches of checkpoints and compiled models",
    "REQUESTS_CA_BUNDLE": "certificates for Python packages",
    "OTEL_*": "the receiver of traces",
}
_WORKER = {
    "HF_*": "detectors that are named by their hub id, including private ones",
    "HUGGINGFACE_*": "the same",
    "TRANSFORMERS_*": "the same",
    "CUDA_*": "which GPU it may use",
    "NVIDIA_*": "the same",
    "OMP_*": "how many threads it may use",
    "MKL_*": "the same",
    "OPENBLAS_*": "the same",
}


def _settings() -> tuple[str, ...]:
    """Return the names of all settings except the storage's, which `make run` sets itself."""
    return tuple(
        name
        for variable in variables_read_by(("api", "worker"))
        if not variable.field.startswith("storage_")
        for name in variable.names
    )


def of_azurite() -> dict[str, str]:
    """Return the environment of Azurite.

    It has no setting of Muster or Node, so that Azurite's only account is that of its data folder.
    """
    return inherited(_ANY)


def of_npm() -> dict[str, str]:
    """Return the environment of npm, which needs access to its registry.

    Install scripts of packages see it, too.
    """
    return inherited({**_ANY, **_NETWORK, **_NPM})


def of_api() -> dict[str, str]:
    """Return the environment of the API: all settings except the storage's."""
    return inherited({**_ANY, **_NETWORK, **_MUSTER, **dict.fromkeys(_settings(), "a setting")})


def of_worker() -> dict[str, str]:
    """Return the environment of the worker: the API's, and variables that affect detectors."""
    return inherited(
        {**_ANY, **_NETWORK, **_MUSTER, **_WORKER, **dict.fromkeys(_settings(), "a setting")}
    )


def of_mongo_test_server() -> dict[str, str]:
    """Return the environment of the tests' database server."""
    return inherited({**_ANY, "JAVA_HOME": "which Java runs it"})


def of_maven() -> dict[str, str]:
    """Return the environment of Maven, which needs access to its repository."""
    return inherited(
        {
            **_ANY,
            **_NETWORK,
            "JAVA_HOME": "which Java runs it",
            "MAVEN_*": "a repository of the user's own, and the way there",
        }
    )
