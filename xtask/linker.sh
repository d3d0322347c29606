#!/bin/sh
# Links as `cc` does.
#
# With the Rust toolchain alone there is no `cc`, and without it not even xtask can be linked, which
# installs what is missing. So under `cargo xtask` this installs a C compiler where it may; anywhere
# else it says how to.
command -v cc >/dev/null && exec cc "$@"

packages="gcc libc6-dev"
if ! command -v apt-get >/dev/null; then
    echo "there is no C compiler: install one, and the static C library" >&2
    exit 1
fi
# rustc is the parent, cargo is its parent.
cargo=$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$PPID/stat")
case " $(tr '\0' ' ' <"/proc/$cargo/cmdline")" in
    *" xtask "*) ours=yes ;;
    *) ours=no ;;
esac
if [ "$(id -u)" != 0 ] || [ "$ours" = no ]; then
    echo "there is no C compiler; as root run this, then the same command again:" >&2
    echo "    apt-get update && apt-get install --no-install-recommends $packages" >&2
    exit 1
fi

# Several links start at the same time.
exec 9<"$0"
flock 9
if ! command -v cc >/dev/null; then
    # rustc shows what a linker says only when it fails. Two writers do not share a plain file.
    [ -f "/proc/$cargo/fd/2" ] ||
        echo "Installing a C compiler ($packages), to build xtask itself" >>"/proc/$cargo/fd/2"
    export DEBIAN_FRONTEND=noninteractive
    # An outdated list may do, and says so itself when it does not.
    said=$(apt-get --quiet update 2>&1 </dev/null || true
        # shellcheck disable=SC2086
        apt-get --quiet --yes --no-install-recommends --no-remove install $packages 2>&1 </dev/null) || {
        echo "apt-get could not install $packages:" >&2
        echo "$said" | tail -n 20 >&2
        exit 1
    }
fi
flock --unlock 9
exec 9<&-
exec cc "$@"
