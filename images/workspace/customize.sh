#!/bin/sh
# Turns an unpacked Debian userland into the workspace: adds our files and the learner, removes what a seat never
# needs. Run as root by build.sh: customize.sh ROOT OVERLAY EPOCH. Leaves nothing of the building machine behind.
set -eu
root=$1 overlay=$2 epoch=$3
servers=/usr/local/lib/clarateach-workspace

# Our files, whatever modes and times the checkout gave them.
find "$overlay" -type f | while read -r file; do
    target=$root${file#"$overlay"}
    install -D -m 644 "$file" "$target"
    touch -d "@$epoch" "$target"
done
find "$root$servers" -name '__pycache__' -prune -exec rm -rf {} +

# The engine copies the owner of /workspace into the volume that it mounts there for the first time.
chroot "$root" useradd --uid 1000 --user-group --create-home --shell /bin/bash learner
install -d -o 1000 -g 1000 -m 755 "$root/workspace"
# The day of the build would make two builds differ.
sed -i 's/^learner:\([^:]*\):[0-9]*:/learner:\1:20089:/' "$root/etc/shadow"
rm -f "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- \
    "$root"/etc/subuid- "$root"/etc/subgid-

# Documents, translations, caches, logs. Not /tmp and not apt's own state: mmdebstrap keeps its apt configuration in
# there until it has cleaned up, and without it would clean the building machine's package lists instead.
find "$root/usr/share/doc" -mindepth 2 ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -mindepth 1 -type d -empty -delete
rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/* "$root"/usr/share/lintian \
    "$root"/var/cache/debconf/*-old "$root"/var/cache/ldconfig/aux-cache "$root"/var/lib/dpkg/*-old \
    "$root"/var/log/apt "$root"/var/log/*.log

# The build's apt options, the host's name and resolver are no business of the image; nor are a mirror's credentials.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/resolv.conf" "$root/etc/hostname"
sed -i 's|://[^/@ ]*@|://|; s| \[[^]]*\]||' "$root/etc/apt/sources.list"

# Python's compiled modules are the largest part of it, and a learner's Python writes its own (PYTHONPYCACHEPREFIX).
# Only what the servers import is compiled here: a class of thirty starts at once, and compiling is most of a start.
find "$root/usr" -name '__pycache__' -prune -exec rm -rf {} +
chroot "$root" python3 -I -B - "$servers" <<'PYTHON'
import py_compile, sys
servers = sys.argv[1]
sys.path.insert(0, servers)
import files, terminal, web
loaded = {getattr(module, "__file__", None) for module in sys.modules.values()}
for source in sorted(path for path in loaded if path and path.endswith(".py")):
    # Not tied to the source's time, which the archive may round down.
    py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
PYTHON
