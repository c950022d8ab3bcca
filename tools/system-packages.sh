#!/usr/bin/env bash
# Sees to the system programs that netlens uses beside Python:  tools/system-packages.sh tshark tcpdump
#
# What is missing is installed by apt-get for root on Debian and Ubuntu, and by Homebrew on macOS; elsewhere one line says what is
# missing and how to get it. Always ends with 0: reading captures needs none of them, and the tests say themselves what they miss.
set -uo pipefail

# program -> Debian package, Homebrew formula ("-" where macOS has it already or there is none)
package_of() {
    case $1 in
        tshark) echo "tshark wireshark" ;;
        capinfos) echo "wireshark-common wireshark" ;;
        tcpdump) echo "tcpdump -" ;;
        argus) echo "argus-server argus" ;;
        tcptrace) echo "tcptrace tcptrace" ;;
        sshd) echo "openssh-server -" ;;
        sshuttle) echo "sshuttle sshuttle" ;;
        nft) echo "nftables -" ;;
        iptables) echo "iptables -" ;;
        tinyproxy) echo "tinyproxy-bin -" ;;
        haproxy) echo "haproxy -" ;;
        ip | ss) echo "iproute2 -" ;;
        ssh | ssh-keygen) echo "openssh-client -" ;;
        setpriv) echo "util-linux -" ;;
        ld) echo "binutils -" ;;
        ps | pgrep | sysctl) echo "procps -" ;;
        chromium) echo "chromium chromium" ;;
        bgzip) echo "tabix htslib" ;;
        bro-cut) echo "bro-aux -" ;;
        *) echo "$1 $1" ;;
    esac
}

# sbin is not on every user's PATH, and Wireshark's own macOS installer puts nothing on it.
present() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin:/Applications/Wireshark.app/Contents/MacOS" command -v "$1" >/dev/null
}

missing() {
    local program
    for program in "$@"; do present "$program" || echo "$program"; done
}

absent=$(missing "$@")
[[ -z $absent ]] && exit 0

system=$(uname -s)
apt_names='' brew_names=''
for program in $absent; do
    read -r apt_name brew_name <<<"$(package_of "$program")"
    apt_names+=" $apt_name"
    [[ $brew_name == - ]] || brew_names+=" $brew_name"
done

how=''
if command -v apt-get >/dev/null; then
    how="sudo apt-get install$apt_names"
    if [[ $(id -u) == 0 ]]; then
        how="apt-get install$apt_names"
        echo "netlens: installing$apt_names (for: $(echo $absent))" >&2
        log=$(mktemp)
        # Two commands and one log: an unreachable mirror in the update need not keep the install from working.
        # shellcheck disable=SC2086
        {
            DEBIAN_FRONTEND=noninteractive apt-get update -q
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $apt_names
        } >"$log" 2>&1 </dev/null || tail -n 3 "$log" >&2
        rm -f "$log"
    fi
elif [[ $system == Darwin && -n $brew_names ]]; then
    how="brew install$brew_names"
    if command -v brew >/dev/null && [[ $(id -u) != 0 ]]; then
        echo "netlens: installing$brew_names with Homebrew (for: $(echo $absent))" >&2
        # shellcheck disable=SC2086
        HOMEBREW_NO_AUTO_UPDATE=1 NONINTERACTIVE=1 brew install -q $brew_names >&2 </dev/null || true
    fi
fi

absent=$(missing $absent)
if [[ -n $absent ]]; then
    echo "netlens: going on without $(echo $absent); to get it: ${how:-install it with the package manager of this system}" >&2
fi
exit 0
