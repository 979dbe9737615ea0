"""The images that the Dockerfiles build from, made of this machine: no registry is asked.

Both begin with the reference workspace image, a Debian userland that was imported from this machine's own apt sources.

  node   this machine's Node.js and npm, and a cache with every package of the lock file. The Dockerfile's installs and
         build then run for real, offline.
  rust   this machine's nft, and stand-ins for cargo and rustc: compiling the service once more inside an image takes
         minutes. The stand-in for cargo hands out a binary that deploy/docker/build-static.sh, which the Dockerfile
         calls too, has built with the real cargo on this machine. The rest of the Dockerfile is as it is.
"""

import functools
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from support import ROOT, WORKSPACE, docker, given_binary, lines, run, scratch

LABEL = "org.clarateach.deploy-test"

CARGO = """#!/bin/sh
# Stands in for cargo: checks what it is asked for, and hands out what the real one has built from the same sources.
set -eu
refuse() { echo "stand-in for cargo: $*" >&2; exit 9; }
[ "$*" = "build --release --locked --bin orchestrator --target test-host" ] || refuse "asked for $*"
case $RUSTFLAGS in *+crt-static*) ;; *) refuse "not asked for a static binary but for $RUSTFLAGS" ;; esac
for source in Cargo.toml Cargo.lock xtask/Cargo.toml crates/orchestrator/src/main.rs; do
    [ -f "$source" ] || refuse "the context lacks $source"
done
mkdir -p target/test-host/release
cp /opt/orchestrator target/test-host/release/orchestrator
"""
RUSTC = """#!/bin/sh
echo 'host: test-host'
"""


class Bases:
    """The two images, under tags and a label of this run. `remove` takes away all that was built from them, too."""

    def __init__(self, run_id: str) -> None:
        self.label = f"{LABEL}={run_id}"
        self.node = f"ctdeploy-base-node:{run_id}"
        self.rust = f"ctdeploy-base-rust:{run_id}"

    def build(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._node(Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            self._rust(Path(folder))

    def remove(self) -> None:
        # Stages that the builder leaves behind have no tag, but the label of their base.
        for _ in range(3):
            built = lines(docker("image", "ls", "--all", "--quiet", "--no-trunc", f"--filter=label={self.label}"))
            if not built:
                return
            docker("image", "rm", "--force", *dict.fromkeys(built), check=False)

    def left(self) -> list[str]:
        """What else than the bases still carries the label."""
        images = docker(
            "image", "ls", "--all", "--filter", f"label={self.label}", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"
        )
        return [image for image in lines(images) if not image.startswith((self.node, self.rust))]

    def _node(self, folder: Path) -> None:
        root = folder / "rootfs"
        node = Path(run("node", "--print", "process.execPath").stdout.strip())
        npm = Path(os.path.realpath(str(shutil.which("npm"))))
        packages = next(above for above in npm.parents if above.name in ("node_modules", "nodejs"))
        put(node, root / "usr/local/bin/node")
        for library in libraries(node):
            put(library, root / library.relative_to("/"))
        shutil.copytree(packages, root / packages.relative_to("/"), symlinks=True)
        (root / "usr/local/bin/npm").symlink_to(npm)
        shutil.copytree(npm_cache(), root / "npm-cache")
        registry = run("npm", "config", "get", "registry").stdout.strip()
        self._image(
            folder,
            self.node,
            # The cache knows packages by where they came from.
            f"ENV npm_config_cache=/npm-cache npm_config_offline=true npm_config_registry={registry}",
        )

    def _rust(self, folder: Path) -> None:
        root = folder / "rootfs"
        nft = Path(os.path.realpath(str(shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin"))))
        put(nft, root / "usr/sbin/nft")
        for library in libraries(nft):
            put(library, root / library.relative_to("/"))
        put(static_binary(), root / "opt/orchestrator")
        for name, text in (("cargo", CARGO), ("rustc", RUSTC)):
            script = root / "usr/local/bin" / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(text)
            script.chmod(0o755)
        self._image(folder, self.rust)

    def _image(self, folder: Path, tag: str, *more: str) -> None:
        recipe = [f"FROM {WORKSPACE}", "USER 0:0", "WORKDIR /", "ENTRYPOINT []", f"LABEL {self.label}", *more]
        (folder / "Dockerfile").write_text("\n".join([*recipe, "COPY rootfs/ /", ""]))
        docker("build", "--quiet", "--tag", tag, folder)


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def libraries(program: Path) -> list[Path]:
    """The shared libraries of a program, by their true folders; those of the C library itself are in the image."""
    found = [Path(path) for path in re.findall(r"=> (/\S+)", run("ldd", program).stdout)]
    own = re.compile(r"(libc|libm|libdl|librt|libpthread|libresolv)\.so|ld-linux")
    return [path.parent.resolve() / path.name for path in found if not own.match(path.name)]


@functools.cache
def static_binary() -> Path:
    """The binary that the caller names, or one built here and now; once in a run."""
    if given := given_binary():
        return given
    built = scratch() / "orchestrator"
    # How fast the service is does not matter here, and a build that does not optimize much takes half the time.
    quick = {"LTO": "off", "OPT_LEVEL": "1", "CODEGEN_UNITS": "16"}
    env = os.environ | {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in quick.items()}
    run(ROOT / "deploy/docker/build-static.sh", built, env=env, timeout=3600)
    return built


def npm_cache() -> Path:
    """A cache of npm with all that the portal's lock file names. Filled once per lock file."""
    manifests = ("package.json", "package-lock.json", ".npmrc", "src/services/package.json")
    digest = hashlib.sha256()
    for name in manifests:
        digest.update((ROOT / "portal" / name).read_bytes())
    cache = scratch() / f"npm-cache-{digest.hexdigest()[:16]}"
    if cache.is_dir():
        return cache
    for old in scratch().glob("npm-cache-*"):
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in manifests:
            put(ROOT / "portal" / name, Path(folder) / "portal" / name)
        filling = Path(tempfile.mkdtemp(dir=scratch(), prefix="filling-"))
        install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(filling))
        run(*install, cwd=Path(folder) / "portal", timeout=1800)
    shutil.rmtree(filling / "_logs", ignore_errors=True)
    try:
        filling.rename(cache)
    except OSError:
        # Another run was faster.
        shutil.rmtree(filling, ignore_errors=True)
    return cache
