# Sourced by the other set-up scripts: install Debian packages, as root or with sudo, only those that are missing.

missing_packages() {
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
            printf '%s ' "$package"
        fi
    done
}

install_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "This system has no apt-get. Install by hand what these Debian packages hold: $*" >&2
        return 1
    fi
    missing=$(missing_packages "$@")
    if [ -z "$missing" ]; then
        return 0
    fi
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "These Debian packages are missing: $missing" >&2
            echo "Ask an administrator to run: apt-get install -y --no-install-recommends $missing" >&2
            return 1
        fi
        as_root="sudo"
    fi
    echo "Installing Debian packages: $missing"
    # The list of packages may be missing or old: then the first attempt fails, and a fresh list mends it.
    # shellcheck disable=SC2086
    apt_install $missing || { $as_root apt-get update -q && apt_install $missing; }
}

apt_install() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}
