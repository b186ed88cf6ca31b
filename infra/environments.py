"""What each program that `infra` starts inherits of the environment, and why.

All else stays behind, secrets above all.
"""

from __future__ import annotations

from core.child_environment import inherited
from core.config.processes import variables_read_by

_ANY = {
    "PATH": "programs that it starts itself",
    "LD_LIBRARY_PATH": "shared libraries of Pythons and Nodes that are not the system's",
    "DYLD_LIBRARY_PATH": "the same on macOS",
    "HOME": "caches and files of settings",
    "TMPDIR": "where there is room for temporary files",
    "LANG": "the encoding of file names and messages",
    "LC_*": "the same, part by part",
    "TZ": "times in logs",
}
_NETWORK = {
    "HTTP_PROXY": "networks that are left through a proxy only",
    "HTTPS_PROXY": "the same",
    "NO_PROXY": "the same",
    "ALL_PROXY": "the same",
    "all_proxy": "the same",
    "http_proxy": "the same",
    "https_proxy": "the same",
    "no_proxy": "the same",
    "SSL_CERT_FILE": "certificates of a network that reads along",
    "SSL_CERT_DIR": "the same",
}
_NPM = {
    "npm_config_*": "a registry of the user's own, and the way there",
    "NPM_CONFIG_*": "the same",
    "NODE_EXTRA_CA_CERTS": "certificates, as Node reads them",
}
_MUSTER = {
    "PYTHONPATH": "packages that are installed beside the virtual environment",
    "XDG_DATA_HOME": "the default data folder",
    "XDG_CACHE_HOME": "the caches of checkpoints and compiled models",
    "REQUESTS_CA_BUNDLE": "certificates, as Python packages read them",
    "OTEL_*": "where traces are sent",
}
_WORKER = {
    "HF_*": "detectors that are named by their hub id, private ones too",
    "HUGGINGFACE_*": "the same",
    "TRANSFORMERS_*": "the same",
    "CUDA_*": "which GPU it may use",
    "NVIDIA_*": "the same",
    "OMP_*": "how many threads it may use",
    "MKL_*": "the same",
    "OPENBLAS_*": "the same",
}


def _settings() -> tuple[str, ...]:
    """Return the names of all settings. The storage is none of them: `make run` brings its own."""
    return tuple(
        name
        for variable in variables_read_by(("api", "worker"))
        if not variable.field.startswith("storage_")
        for name in variable.names
    )


def of_azurite() -> dict[str, str]:
    """Return what Azurite inherits: no setting of Muster or of Node, and no account but that of its
    data folder.
    """
    return inherited(_ANY)


def of_npm() -> dict[str, str]:
    """Return what npm inherits: the way to its registry. The scripts of packages see it, too."""
    return inherited({**_ANY, **_NETWORK, **_NPM})


def of_api() -> dict[str, str]:
    """Return what the API inherits: all settings but the storage's."""
    return inherited({**_ANY, **_NETWORK, **_MUSTER, **dict.fromkeys(_settings(), "a setting")})


def of_worker() -> dict[str, str]:
    """Return what the worker inherits: what the API does, and what decides about detectors."""
    return inherited(
        {**_ANY, **_NETWORK, **_MUSTER, **_WORKER, **dict.fromkeys(_settings(), "a setting")}
    )


def of_mongo_test_server() -> dict[str, str]:
    """Return what the database server of the tests inherits."""
    return inherited({**_ANY, "JAVA_HOME": "which Java runs it"})


def of_maven() -> dict[str, str]:
    """Return what Maven inherits: the way to its repository."""
    return inherited(
        {
            **_ANY,
            **_NETWORK,
            "JAVA_HOME": "which Java runs it",
            "MAVEN_*": "a repository of the user's own, and the way there",
        }
    )
