#!/usr/bin/env bash
# ./do - the one entry: installs what is missing, builds, runs. `./do help` says what there is.
# Everything it makes is in build*/ of this folder. It asks apt only when a package is missing.
# shellcheck disable=SC2034 # packages_* are named to install()
set -u
cd "$(dirname "$0")" || exit 1
export PATH=/usr/bin:$PATH # Debian's Python, with Debian's modules
jobs=$(nproc)
passed=0
failed=0
failures=()
times=() # SECONDS NAME of each part that was counted

# ---- packages: name, and what it is for -----------------------------------------------------------------

packages_build="
gcc                  compiler
libc6-dev            C library
meson                build
ninja-build          build
pkg-config           finds the libraries
python3              the protocol's generator
ocl-icd-opencl-dev   the OpenCL loader that programs link to
opencl-headers       the OpenCL interface
pocl-opencl-icd      a driver: OpenCL on the CPU
libevent-dev         event loop of the daemon
libyaml-dev          configuration: positions for error messages
libcyaml-dev         configuration: YAML into structs
libjansson-dev       JSON output of the command line
libseccomp-dev       the worker's jail
libxxhash-dev        names of cached builds
libssl-dev           TLS
liblz4-dev           bulk over slow networks
libjemalloc-dev      allocator of the worker and its drivers
libcmocka-dev        unit tests
clinfo               the program that the demonstration runs
"
packages_test="
openssl              certificates of the tests
clang                fuzzers, and a second opinion
libclang-rt-dev      libFuzzer
clang-format         style
clang-tidy           static analysis
mesa-opencl-icd      a second vendor's driver (rusticl)
oclgrind             a third
python3-numpy        results to compare with
python3-pyopencl     a real program
python3-mako         templates of PyOpenCL's reductions
ffmpeg               a real program
clpeak               a real program
clblast-tests        a real program
piglit               real programs: OpenCL's own tests
openssl              a TLS peer of another make
spin                 models of what threads do with each other
"
packages_conformance="
python3-opencv       a real program
hashcat              a real program
"

packages_bench="
libstarpu-dev        a runtime of task graphs, to measure beside
"

install() { # GROUP...
    local group name meaning missing=()
    command -v dpkg-query >/dev/null || { echo "not a Debian system: the packages are listed in ./do"; return; }
    for group in "$@"; do
        while read -r name meaning; do
            [ -n "$name" ] || continue
            dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
            printf 'installing %-20s %s\n' "$name" "$meaning"
            missing+=("$name")
        done <<<"${!group}"
    done
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q)
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" && return
    "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}" && return
    echo "could not install: ${missing[*]}" >&2
    exit 1
}

# ---- builds ---------------------------------------------------------------------------------------------

# build FOLDER COMPILER [MESON OPTION...]: configures once, then builds target $target (default: all).
build() {
    local folder=$1 compiler=$2
    shift 2
    if [ ! -f "$folder/build.ninja" ]; then
        CC=$compiler meson setup "$folder" "$@" || return
    fi
    ninja -C "$folder" -j "$jobs" ${target:+"$target"}
}

build_main() {
    build build gcc --werror
}

build_clang() { # for its warnings, and the commands that clang-tidy reads
    build build-clang clang --werror -Doptimization=0 -Ddebug=false
}

# What a sanitizer says names functions and lines: -g1 has these, and takes a quarter off the time of its build.
build_sanitized() { # asan|tsan: gcc warns without reason when it sanitizes
    local sanitizers=thread
    [ "$1" = tsan ] || sanitizers=address,undefined
    build "build-$1" gcc -Doptimization=1 -Dc_args=-g1 -Db_sanitize="$sanitizers" -Db_lundef=false
}

build_fuzzers() {
    target=fuzzers build build-fuzz clang -Dfuzz=true -Dc_args=-g1 -Db_sanitize=address,undefined -Db_lundef=false
}

# The builds that come later, and then clang-tidy, which takes its time, with what the tests leave of the machine
# meanwhile, which wait a lot. What goes wrong in a build is said by the step that does the same again. Two lines come
# from it: when all is built, and the status of clang-tidy.
work_ahead() {
    {
        chrt --idle --pid 0 "$BASHPID" || renice -n 19 "$BASHPID"
        build_sanitized asan
        build_sanitized tsan
        build_fuzzers
        build_clang
    } >/dev/null 2>&1
    echo built
    check_tidy >build-clang/tidy.log 2>&1
    echo $?
}

# ---- counting -------------------------------------------------------------------------------------------

took() { # SINCE NAME: a part that began then
    times+=("$((SECONDS - $1)) $2")
}

result() { # STATUS NAME
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok: $2"
    else
        failed=$((failed + 1))
        failures+=("$2")
        echo "FAILED: $2"
    fi
}

step() { # NAME COMMAND...: one check that counts as one test
    local name=$1 begin=$SECONDS
    shift
    echo "==== $name"
    "$@"
    result $? "$name"
    took "$begin" "$name"
}

why_failed() { # FOLDER: the names of its tests that failed, each with the end of what it said
    python3 - "$1/meson-logs/testlog.json" <<'END'
import json, sys
for line in open(sys.argv[1]):
    test = json.loads(line)
    if test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP"):
        said = test.get("stdout", "") + test.get("stderr", "")
        print(f'-- {test["name"]}: {test["result"]}, status {test["returncode"]}', *said.splitlines()[-40:], sep="\n   ")
END
}

suites() { # FOLDER SUITE...: Meson's tests of these, and not of $without, each counted; $at_once, timeouts multiplied by $patience
    local folder=$1 suite arguments=() log begin=$SECONDS status
    shift
    for suite in "$@"; do
        arguments+=(--suite "$suite")
        meson test -C "$folder" --no-rebuild --list --suite "$suite" >/dev/null 2>&1 || result 1 "$folder: no test is in suite $suite"
    done
    [ -z "${without:-}" ] || arguments+=(--no-suite "$without")
    echo "==== $folder: $*"
    log=$(mktemp)
    meson test -C "$folder" --no-rebuild --print-errorlogs -t "${patience:-1}" --num-processes "${at_once:-$jobs}" "${arguments[@]}" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    local good bad skipped
    good=$(awk '/^(Ok|Expected Fail): /{n += $NF} END{print n + 0}' "$log")
    bad=$(awk '/^(Fail|Unexpected Pass|Timeout): /{n += $NF} END{print n + 0}' "$log")
    skipped=$(awk '/^Skipped: /{n += $NF} END{print n + 0}' "$log")
    rm -f "$log"
    # A test that was not run shows nothing: only those that are known not to run in this build may be left out.
    [ "$skipped" -eq "${may_skip:-0}" ] || { bad=$((bad + 1)); echo "$folder: $skipped tests skipped, ${may_skip:-0} expected"; }
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + good))
    failed=$((failed + bad))
    [ "$bad" -eq 0 ] || failures+=("$folder: $bad of suites $*
$(why_failed "$folder")")
    echo "$folder: $good passed, $bad failed"
    took "$begin" "$folder: $*"
}

programs() { # COMMAND...: one that ends with `N passed, N failed`
    local log good bad status begin=$SECONDS
    log=$(mktemp)
    echo "==== $*"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    good=$(sed -n 's/^\([0-9]*\) passed, [0-9]* failed$/\1/p' "$log" | tail -n 1)
    bad=$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$log" | tail -n 1)
    rm -f "$log"
    [ "$status" -eq 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-0}))
    [ "${bad:-0}" -eq 0 ] || failures+=("$*")
    took "$begin" "$*"
}

finish() {
    local name
    echo "==== seconds, of $SECONDS in all"
    printf '%s\n' ${times[@]+"${times[@]}"} | sort -rn | sed 's/^\([0-9]*\) /\1\t/'
    for name in ${failures[@]+"${failures[@]}"}; do
        echo "failed: $name"
    done
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# ---- parts of the tests ---------------------------------------------------------------------------------

sources() { # what people wrote, of these patterns
    git ls-files --cached --others --exclude-standard -- "$@" | grep -v -e '^tests/wire/golden/' -e '^protocol/runtime.c$'
}

check_format() {
    local files
    files=$(sources '*.c' '*.h') && [ -n "$files" ] && xargs clang-format --dry-run -Werror <<<"$files"
}

check_tidy() { # with the compile commands of build-clang
    local files
    files=$(sources 'src/*.c') && [ -n "$files" ] || return
    xargs <<<"$files" -P "$jobs" -n 1 clang-tidy -p build-clang --quiet --warnings-as-errors='*' 2>&1 |
        grep -v -e 'warnings\? generated\.$' -e '^Suppressed ' -e '^Use -header-filter'
    return "${PIPESTATUS[0]}"
}

finish_tidy() { # what work_ahead has begun
    local status
    [ -n "${ahead:-}" ] || { check_tidy; return; }
    read -r -u "$ahead" status && cat build-clang/tidy.log && return "$status"
}

lint() {
    step "gcc, warnings are errors" build_main
    step "clang, warnings are errors" build_clang
    step "format" check_format
    step "include directions" python3 tests/lint/includes.py
    step "settings in messages" python3 tests/lint/settings.py
    step "entry points without a test" python3 tests/lint/entries.py
    step "clang-tidy" finish_tidy
}

sanitized() { # asan|tsan SUITE...
    local before=$failed folder=build-$1
    step "$folder: build" build_sanitized "$1"
    shift
    [ "$failed" -eq "$before" ] || return
    # Oclgrind's own errors would be found. Scenarios wait as much as they compute, and what times they promise is the
    # plain build's to keep: one more than there are cores leaves none of them idle.
    patience=4 may_skip=1 at_once=$((jobs + 1)) suites "$folder" "$@"
}

sanitize() {
    local options=$PWD/tests/sanitize
    # Up to gcc 13 (and LLVM 16) the runtime looks for a header before each library's thread-local memory, which glibc has had
    # none of since 2.25; what lies there in its place makes LeakSanitizer crash now and then ("Tracer caught signal 11").
    export ASAN_OPTIONS=abort_on_error=0:detect_stack_use_after_return=1:intercept_tls_get_addr=0
    export LSAN_OPTIONS=suppressions=$options/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    # A worker whose kernel faults is to die of that signal, as it would without a sanitizer. At its end a process sleeps,
    # for races with what still goes on: a second if nothing else is said, and the scenarios start hundreds of processes.
    export TSAN_OPTIONS=suppressions=$options/tsan.supp:second_deadlock_stack=1:handle_segv=0:handle_sigbus=0:atexit_sleep_ms=100
    sanitized asan unit wire scenario
    without=serial sanitized tsan unit scenario # nor have the protocol's own tests more than one thread
}

fuzz() { # SECONDS for each target
    local before=$failed
    step "build-fuzz: build" build_fuzzers
    [ "$failed" -eq "$before" ] || return
    # All of them at once: their time is that of a clock, and there are more of them than cores.
    step "build-fuzz: configure" meson configure build-fuzz -Dfuzz_seconds="$1"
    [ "$failed" -eq "$before" ] || return
    at_once=$(find tests/fuzz -name 'fuzz_*.c' | wc -l) suites build-fuzz fuzz
}

# ---- commands -------------------------------------------------------------------------------------------

do_build() { # build everything into build/
    install packages_build
    build_main
}

do_demo() { # an unmodified program on two pooled devices
    do_build || exit
    local pool=(build/src/cli/penstock run --private --config docs/examples/two-devices.yaml --)
    printf '\n$ %s\n' "${pool[*]} clinfo -l"
    "${pool[@]}" clinfo -l || exit
    printf '\n$ %s\n' "${pool[*]} build/examples/demo"
    "${pool[@]}" build/examples/demo
}

do_test() { # build, and run every test (under 20 minutes on 2 cores)
    install packages_build packages_test
    step "build" build_main
    [ "$failed" -eq 0 ] || finish
    exec {ahead}< <(work_ahead)
    suites build unit model wire net scenario
    # What PoCL compiles natively it compiles once for all of these; through Penstock each begins with nothing.
    rm -rf build/native
    local quick=(python3 tests/conformance/run.py --quick --native-cache build/native)
    programs "${quick[@]}" --jobs "$jobs"
    programs "${quick[@]}" --jobs "$jobs" --devices 2
    programs "${quick[@]}" --jobs "$jobs" --span 2 --only '^clinfo|PyOpenCL threads|ffmpeg (convolution|unsharp)'
    programs "${quick[@]}" --network 'delay 500us' --network 'loss 1%' --only '^clinfo|ffmpeg (overlay|transpose)'
    read -r -u "$ahead" _
    sanitize
    fuzz 60
    lint
    finish
}

do_lint() { # format, static analysis, include directions, builds without warnings
    install packages_build packages_test
    lint
    finish
}

do_bench() { # native and Penstock, interleaved, to build/bench/*.json: [all|calls|remote|network|span|tasks|programs] [OPTION...] (--help)
    local what=all part
    case ${1:-} in
    --remote) what=remote && shift ;;
    '' | -*) ;;
    *) what=$1 && shift ;;
    esac
    case $what in
    all)
        for part in calls remote network span tasks programs; do
            do_bench "$part" "$@" || return
        done
        ;;
    calls) do_build && python3 bench/callpath.py "$@" ;;
    remote) do_build && python3 bench/remote.py "$@" ;;
    span) do_build && python3 bench/span.py "$@" ;;
    tasks)
        install packages_build packages_bench
        build_main || return
        [ -x build/bench/tasks_starpu ] || meson setup --reconfigure build && build_main && python3 bench/tasks.py "$@"
        ;;
    network | programs)
        install packages_build packages_test packages_conformance
        build_main && python3 "bench/$what.py" "$@"
        ;;
    *)
        echo "./do bench: \"$what\" is no part of it; there are all, calls, remote, network, span, tasks and programs" >&2
        exit 2
        ;;
    esac
}

do_conformance() { # all real programs, on each driver, with one and two devices, and a span (hours; --resume goes on where it was stopped)
    install packages_build packages_test packages_conformance
    step "build" build_main
    [ "$failed" -eq 0 ] || finish
    mkdir -p build/conformance
    local driver devices
    for driver in pocl rusticl oclgrind; do
        for devices in 1 2; do
            programs python3 tests/conformance/run.py --driver "$driver" --devices "$devices" --jobs "$jobs" \
                "$@" --json "build/conformance/$driver-$devices.json"
        done
    done
    programs python3 tests/conformance/run.py --span 2 --jobs "$jobs" "$@" --json build/conformance/pocl-span.json
    python3 tests/conformance/table.py build/conformance/{pocl-{1,2,span},{rusticl,oclgrind}-{1,2}}.json
    finish
}

do_soak() { # what is too long for test: 200 cuts of a network, 100,000 random programs, a session of millions of commands (15 minutes)
    install packages_build packages_test packages_conformance
    step "build" build_main
    [ "$failed" -eq 0 ] || finish
    programs python3 tests/soak/cuts.py
    programs python3 tests/conformance/run.py --network 'delay 500us' --network 'loss 1%' --only '^hashcat MD5'
    programs python3 tests/soak/many.py
    programs python3 tests/scenario/random_programs.py --count 100000 --jobs "$jobs"
    programs python3 tests/scenario/random_programs.py --count 4000 --jobs "$jobs" --pool pocl --pool mixed
    finish
}

do_endure() { # everything again and again: 20 rounds of all suites, with sanitizers, 10 minutes of fuzzing a target (hours)
    install packages_build packages_test
    step "build" build_main
    [ "$failed" -eq 0 ] || finish
    local round
    for round in $(seq 20); do
        echo "==== round $round of 20"
        suites build unit model wire net scenario
    done
    sanitize
    fuzz 600
    finish
}

do_help() { # this
    echo "usage: ./do COMMAND"
    sed -n 's/^do_\([a-z]*\)() { # \(.*\)/\1\t\2/p' ./do | while IFS=$'\t' read -r name meaning; do
        printf '  %-12s %s\n' "$name" "$meaning"
    done
}

command=${1:-help}
[ $# -eq 0 ] || shift
if [ "$(type -t "do_$command")" != function ]; then
    echo "./do: unknown command '$command'" >&2
    do_help >&2
    exit 2
fi
"do_$command" "$@"
