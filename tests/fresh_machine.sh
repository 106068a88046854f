#!/usr/bin/env bash
# A machine that has never seen this course. Clones what is committed here into an empty folder, with an empty home and
# empty caches, runs the commands of the README there (the block under "## Two commands", read from the README itself)
# and times each of them.
#
#   tests/fresh_machine.sh                           all commands of the README
#   tests/fresh_machine.sh --only run                only those that end in "run"
#   tests/fresh_machine.sh --commands "make lint;make run"   these instead
#     --from ADDRESS    clone this instead of this checkout
#     --place FOLDER    where the empty folder is made                      [/tmp]
#     --logs FOLDER     where each command's output is kept                 [_runs/fresh_machine]
#     --no-record       leave benchmarks/measured/fresh_machine.json as it is
#
# Kept from the environment: PATH (without virtual environments), the language, the terminal, the way to Python
# (PYENV_*, LD_LIBRARY_PATH), to the internet (*_proxy), certificates (SSL_*, *_CA_BUNDLE, *_CAINFO) and packages (PIP_*, pip.conf).
# Nothing is left behind but the logs, the record and what `make test` asks of the system's packages (a browser, bubblewrap).
# Exit code: 0 all is well, 1 a command failed or left something behind, 2 wrong use, 130 Ctrl-C.
set -u -m

root=$(cd "$(dirname "$0")/.." && pwd -P)
commands="" only="" from=$root under=/tmp logs=$root/_runs/fresh_machine record=yes
place="" group="" interrupted="" failed=0 clone_line="" name="" token="" known=""

refuse() {
    echo "fresh_machine.sh: $1" >&2
    exit 2
}

usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0"
    exit 0
}

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) usage ;;
            --no-record) record="" && shift && continue ;;
            --commands | --only | --from | --place | --logs) ;;
            *) refuse "there is no option $1; --help lists what there is" ;;
        esac
        [ $# -gt 1 ] && [ -n "$2" ] || refuse "$1 needs a value; --help shows one"
        case $1 in
            --commands) commands=$(echo "$2" | tr ';' '\n') record="" ;;
            --only) only=$2 record="" ;;
            --from) from=$2 ;;
            --place) under=$2 ;;
            --logs) logs=$2 ;;
        esac
        shift 2
    done
    [ -d "$under" ] && [ -w "$under" ] || refuse "$under is not a folder that can be written; name another with --place"
}

# The lines of the first fenced block under the heading, without what stands behind #.
readme_block() {
    git -C "$root" show HEAD:README.md 2>/dev/null \
        | awk '/^## /{here = ($0 == "## Two commands")} /^```/{if (here && inside) exit; inside = here; next} inside' \
        | sed 's/[[:space:]]*#.*//' | sed '/^[[:space:]]*$/d'
}

read_commands() {
    local block
    block=$(readme_block)
    clone_line=$(echo "$block" | head -n 1)
    case $clone_line in
        "git clone "*) ;;
        *) refuse "README.md has no block under \"## Two commands\" that begins with git clone; this script runs that block" ;;
    esac
    name=$(basename "$(echo "$clone_line" | awk '{print $3}')" .git)
    [ -n "$commands" ] || commands=$(echo "$block" | tail -n +2)
    [ -z "$only" ] || commands=$(echo "$commands" | awk -v word="$only" '$NF == word')
    [ -n "$commands" ] || refuse "no command of the README ends in \"$only\"; it has: $(echo "$block" | tail -n +2 | tr '\n' ';')"
}

# A virtual environment on the PATH would lend its Python and its packages to the machine that is to have none.
clean_path() {
    local each kept=""
    while read -r -d : each; do
        case $each in /*) [ -e "$each/../pyvenv.cfg" ] || kept=$kept:$each ;; esac
    done <<< "$PATH:"
    echo "${kept#:}"
}

# Fills `kept`, the whole environment of the new machine.
new_environment() {
    local variable pip_conf="" candidate
    kept=("PATH=$(clean_path)" "HOME=$place/home" "TMPDIR=$place/tmp" "PIP_CACHE_DIR=$place/home/.cache/pip" "FRESH_MACHINE=$token")
    for variable in $(compgen -e); do
        case $variable in
            PIP_CACHE_DIR | PIP_TARGET | PIP_PREFIX | PIP_ROOT | PIP_USER | PIP_CONSTRAINT | PIP_REQUIREMENT | PIP_REQUIRE_VIRTUALENV) ;;
            PIP_* | LD_LIBRARY_PATH | PYENV_ROOT | PYENV_VERSION | LANG | LC_* | TERM | TZ | USER | LOGNAME | SHELL | DEBIAN_FRONTEND | SSL_* | *_CA_BUNDLE | *_CAINFO | \
                *_CA_CERTS | *_[Pp][Rr][Oo][Xx][Yy]) kept+=("$variable=${!variable}") ;;
        esac
    done
    [ -n "${PYENV_ROOT:-}" ] || [ ! -d "$HOME/.pyenv" ] || kept+=("PYENV_ROOT=$HOME/.pyenv")
    # The user's pip.conf would go with the home, and with it the index this machine can reach.
    for candidate in "$HOME/.pip/pip.conf" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/Library/Application Support/pip/pip.conf"; do
        [ -f "$candidate" ] && pip_conf=$candidate
    done
    [ -n "${PIP_CONFIG_FILE:-}" ] || [ -z "$pip_conf" ] || kept+=("PIP_CONFIG_FILE=$pip_conf")
}

# Processes that carry our mark in their environment or were started with our folder, wherever they hang in the tree:
# a sandbox has an environment of its own. The folder is read from a pipe, since grep would find it in its own command.
strays() {
    {
        grep -lzxF "FRESH_MACHINE=$token" /proc/[0-9]*/environ
        grep -lzF -f - /proc/[0-9]*/cmdline <<< "$place/"
    } 2>/dev/null | sed 's,/proc/,,; s,/.*,,' | sort -u
}

end_group() {
    local signal waited
    for signal in INT TERM KILL; do
        kill -s $signal -- "-$group" 2>/dev/null || return 0
        waited=0
        while kill -0 -- "-$group" 2>/dev/null && [ $waited -lt 100 ]; do sleep 0.1; waited=$((waited + 1)); done
    done
}

leave() {
    trap '' INT TERM HUP
    [ -z "$group" ] || end_group
    if [ -n "$token" ]; then
        for process in $(strays); do kill -s KILL "$process" 2>/dev/null; done
    fi
    [ -z "$place" ] || { chmod -R u+rwX "$place" 2>/dev/null; rm -rf "$place"; }
}

stop() {
    interrupted=yes
    [ -z "$group" ] || end_group
}

# Sets `cpu` to the seconds of all commands so far. `times` must not stand in a pipe, whose own children are none.
count_cpu() {
    times > "$place/times"
    cpu=$(awk 'NR == 2 {gsub("s", ""); split($1, a, "m"); split($2, b, "m"); printf "%d\n", 60 * (a[1] + b[1]) + a[2] + b[2]}' "$place/times")
}

# step NUMBER TOLD FOLDER COMMAND: runs it, adds a line to times.tsv.
step() {
    local log started cpu before code verdict=passed setup="" ready=$place/$name/.venv/.ready
    log=$logs/$1-$(echo "$2" | tr -c 'A-Za-z0-9\n' '-' | cut -c 1-30 | sed 's/-*$//').log
    count_cpu
    started=$(date +%s) before=$cpu
    echo "$2   (output: $log)"
    (cd "$3" && exec env -i "${kept[@]}" bash -c "$4") < /dev/null > "$log" 2>&1 &
    group=$!
    wait "$group" 2>/dev/null
    code=$?
    group=""
    if [ -f "$ready" ] && [ "$(date -r "$ready" +%s)" -gt "$started" ]; then setup=$(($(date -r "$ready" +%s) - started)); fi
    if [ -n "$interrupted" ]; then verdict=interrupted; elif [ $code -ne 0 ]; then verdict="failed with exit code $code"; fi
    [ "$verdict" = passed ] || { failed=1; tail -n 15 "$log" | sed 's/^/    /'; }
    count_cpu
    printf '%s\t%s\t%s\t%s\t%s\n' "$2" "$(($(date +%s) - started))" "$setup" "$((cpu - before))" "$verdict" >> "$logs/times.tsv"
}

note() {
    local told=${1//$place\//}
    echo "$told"
    printf 'note\t%s\n' "$told" >> "$logs/times.tsv"
}

# What a command must not leave: processes, and changes that git sees.
look_behind() {
    local waited=0 left changed
    while [ -n "$(strays)" ] && [ $waited -lt 20 ]; do sleep 0.5; waited=$((waited + 1)); done
    for left in $(strays); do
        failed=1
        note "$1 left a process behind: $(tr '\0' ' ' 2>/dev/null < "/proc/$left/cmdline" | cut -c 1-100)"
        kill -s KILL "$left" 2>/dev/null
    done
    changed=$(git -C "$place/$name" status --porcelain 2>/dev/null | head -n 5 | tr '\n' ' ')
    [ "$changed" = "$known" ] || { failed=1; note "$1 changed what git sees: $changed"; }
    known=$changed
}

megabytes() {
    du -sk "$1" 2>/dev/null | awk '{printf ($1 < 1024 ? $1 " kB" : sprintf("%.0f MB", $1 / 1024))}'
}

# What was put on the disk: the clone, its environments, and each thing in the home that was empty.
note_sizes() {
    local each found=""
    note "On the disk: the clone with its environments $(megabytes "$place/$name"), of which .venv $(megabytes "$place/$name/.venv")."
    for each in "$place"/home/.[!.]* "$place"/home/*; do
        case $each in
            */home/.cache) for each in "$place"/home/.cache/*; do [ -e "$each" ] && found="$found, .cache/${each##*/} $(megabytes "$each")"; done ;;
            *) [ -e "$each" ] && found="$found, ${each##*/} $(megabytes "$each")" ;;
        esac
    done
    found=${found#, }
    note "In the home that was empty: ${found:-nothing}."
    found=$(ls -A "$place/tmp" | head -n 5 | tr '\n' ' ')
    [ -z "$found" ] || note "In the temporary folder that was empty: $found"
}

print_table() {
    echo
    (printf 'command\tseconds\tto set it up\tCPU seconds\t\n' && grep -v '^note' "$logs/times.tsv") \
        | awk -F '\t' '{printf "%8s %13s %12s  %s%s\n", $2, $3, $4, $1, ($5 == "" ? "" : ": " $5)}'
}

write_section() {
    local python=$place/$name/.venv/bin/python
    [ -n "$record" ] && [ -z "$interrupted" ] || return 0
    [ -x "$python" ] || { echo "Not recorded: there is no environment that could write the section."; return 0; }
    (cd "$root" && env -i "${kept[@]}" PYTHONDONTWRITEBYTECODE=1 "$python" -m tests.packaging.fresh_section "$logs/times.tsv")
}

main() {
    local number=1 command unsaved
    read_options "$@"
    read_commands
    mkdir -p "$logs" && rm -f "$logs"/*.log "$logs/times.tsv" && logs=$(cd "$logs" && pwd -P) && : > "$logs/times.tsv" || exit 2
    trap leave EXIT
    trap stop INT TERM HUP
    place=$(mktemp -d "$under/fresh.XXXXXX") && place=$(cd "$place" && pwd -P) || exit 2
    token=$(basename "$place").$$
    mkdir "$place/home" "$place/tmp"
    new_environment
    unsaved=$(git -C "$root" status --porcelain 2>/dev/null | wc -l | tr -d ' ')
    [ "$from" != "$root" ] || [ "$unsaved" = 0 ] || echo "$unsaved changes of this checkout are not committed: they are not tried."
    step 0 "$clone_line" "$place" "git clone --quiet '$from' '$name'"
    while [ -z "$interrupted" ] && [ -d "$place/$name" ] && read -r command <&3; do
        step $number "$command" "$place/$name" "$command"
        look_behind "$command"
        number=$((number + 1))
    done 3<<< "$commands"
    note_sizes
    print_table
    [ -n "$interrupted" ] && exit 130
    write_section || failed=1
    exit $failed
}

main "$@"
