#!/usr/bin/env bash
# Makes sure that the workspace can be compiled: cargo, a C compiler and pkg-config.
#
# Contract
#   - A cargo that is there, in PATH or in ~/.cargo/bin, is never touched.
#   - Otherwise rustup installs the stable toolchain for this user, the documented way (https://rustup.rs).
#   - The C compiler and pkg-config come from apt on Debian/Ubuntu; macOS has its own command line tools.
#   - ~/.cargo/bin may be missing from the caller's PATH: a Makefile adds it, a shell runs `. ~/.cargo/env`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin
by_hand="Install Rust by hand as https://www.rust-lang.org/tools/install says, then run this again."

ensure_compiler() {
    if is_macos; then
        have cc || die "no C compiler. Install Apple's command line tools: xcode-select --install"
        return
    fi
    local -a missing=()
    have cc || missing+=(gcc)
    # cc alone does not bring the C library's headers and start files.
    [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
    have pkg-config || missing+=(pkg-config)
    [ "${#missing[@]}" -eq 0 ] || have apt-get || die "missing: ${missing[*]}. Install them with your package manager."
    apt_install "${missing[@]}"
}

install_rust() {
    have curl || is_macos || apt_install curl ca-certificates
    local installer
    installer=$(mktemp)
    # shellcheck disable=SC2064 # the name is known now
    trap "rm -f '$installer'" EXIT
    # Downloaded first and run second: a connection that breaks half-way runs nothing.
    curl --proto '=https' --tlsv1.2 -sSf --retry 3 -o "$installer" https://sh.rustup.rs ||
        die "could not download rustup from https://sh.rustup.rs. $by_hand"
    say "installing Rust for user $(id -un) with rustup"
    sh "$installer" -y --profile minimal --component clippy --component rustfmt >&2 || die "rustup failed (see above). $by_hand"
    say "note: '. \"$cargo_bin/../env\"' or a new login puts cargo in your PATH"
}

ensure_compiler
if ! have cargo && [ ! -x "$cargo_bin/cargo" ]; then
    install_rust
fi
PATH="$PATH:$cargo_bin"
cargo --version >/dev/null || die "cargo is there but does not run (see above). $by_hand"
say "$(cargo --version), $(cc --version | head -n 1)"
