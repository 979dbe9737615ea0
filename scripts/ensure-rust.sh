#!/usr/bin/env bash
# Makes sure that the workspace can be compiled: cargo, a C compiler and pkg-config.
#
# Contract
#   - A cargo that is there, in PATH or in ~/.cargo/bin, is never touched. When its compiler is older than the
#     workspace's rust-version, this says so and what to do, and fails.
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

# The oldest compiler that the workspace is built with: `1.95` of `rust-version = "1.95"`.
needed_rust() { sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$here/../Cargo.toml" | head -n 1; }

# at_least VERSION NEEDED: compares major and minor; `1.96.0-nightly` counts as 1.96.
at_least() {
    local major minor needed_major needed_minor
    IFS=. read -r major minor _ <<<"$1"
    IFS=. read -r needed_major needed_minor _ <<<"$2"
    [ "$major" -gt "$needed_major" ] || { [ "$major" -eq "$needed_major" ] && [ "$minor" -ge "$needed_minor" ]; }
}

check_rust() {
    local needed found how
    needed=$(needed_rust)
    [[ $needed =~ ^[0-9]+\.[0-9]+ ]] || die "Cargo.toml does not say its rust-version"
    found=$(rustc --version) || die "cargo is there, but its compiler rustc does not run (see above). $by_hand"
    found=${found#rustc }
    found=${found%% *}
    [[ $found =~ ^[0-9]+\.[0-9]+\. ]] || die "rustc says that its version is '$found'. $by_hand"
    ! at_least "$found" "$needed" || return 0
    if [ "$(command -v rustc)" != "$cargo_bin/rustc" ] && [ -x "$cargo_bin/rustc" ]; then
        how="There is another one in $cargo_bin. Put that folder first in PATH:
  export PATH=\"$cargo_bin:\$PATH\""
    elif have rustup; then
        how="Bring the toolchain up to date:
  rustup update stable && rustup default stable"
    else
        how="Remove it (on Debian and Ubuntu: apt-get remove cargo rustc), and run this again: it installs a
current one with rustup. To keep it, install Rust as https://www.rust-lang.org/tools/install says
and put $cargo_bin first in PATH."
    fi
    die "Rust $needed or newer is needed, and $(command -v rustc) is $found.
$how"
}

ensure_compiler
if ! have cargo && [ ! -x "$cargo_bin/cargo" ]; then
    install_rust
fi
PATH="$PATH:$cargo_bin"
cargo --version >/dev/null || die "cargo is there but does not run (see above). $by_hand"
check_rust
say "$(cargo --version), $(cc --version | head -n 1)"
