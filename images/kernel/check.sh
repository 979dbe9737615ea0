#!/usr/bin/env bash
# Whether a kernel's configuration is what a fragment asks for.
#
#   images/kernel/check.sh FRAGMENT CONFIG
#
# Kconfig drops without a word what it does not know and what lacks something else, so a fragment alone proves nothing. This names every
# line of the fragment that the configuration does not have, every line that the fragment has twice, and every module: exit 1 then.
# "CONFIG_X=value" and "# CONFIG_X is not set" count; other lines are comments.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"

[ $# -eq 2 ] || die "usage: check.sh FRAGMENT CONFIG"
for file in "$@"; do
    [ -r "$file" ] || die "cannot read $file"
done

wrong=$(awk '
    function said(value) { return value == "n" ? "not set" : value }
    /^CONFIG_[A-Za-z0-9_]+=/ {
        at = index($0, "=")
        name = substr($0, 1, at - 1)
        value = substr($0, at + 1)
    }
    /^# CONFIG_[A-Za-z0-9_]+ is not set$/ { name = $2; value = "n" }
    name == "" { next }
    FNR == NR {
        if (name in wanted) print "  " name " is in the fragment twice"
        else order[++count] = name
        wanted[name] = value
    }
    FNR != NR {
        found[name] = value
        if (value == "m") print "  " name " is a module, and there are none"
    }
    { name = "" }
    END {
        if (count == 0) print "  the fragment asks for nothing"
        for (i = 1; i <= count; i++) {
            name = order[i]
            value = name in found ? found[name] : "n"
            if (value != wanted[name]) print "  " name " is " said(value) ", and shall be " said(wanted[name])
        }
    }' "$1" "$2")

[ -z "$wrong" ] || die "the configuration is not what $1 asks for:
$wrong
What an option lacks, and whether this version of the kernel has it, stands in its Kconfig file (grep -rn 'config NAME' --include=Kconfig*)."
