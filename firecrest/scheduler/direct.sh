# Jobs without a batch system: detached processes of the user, recorded under $HOME.
#
# This program comes on the standard input of `sh -s -- <verb> <argument>...`, so that what
# users choose arrives as arguments and never as program text. It needs POSIX sh, coreutils
# and setsid with --fork (util-linux 2.32).
#
#   submit <directory> <script> <account> <comment>   prints "Submitted batch job <id>"
#   running                                           prints the jobs that have not ended
#   all [<id>...]                                     prints these jobs, or every job
#   cancel <id>...                                    ends jobs and says so as scancel does
#
# Those for jobs print fields, each ended by a NUL: now (epoch), now (local time), user, node;
# for each job
#   id, state, exit code, start (epoch), start (local), end (epoch, or empty), end (local)
# an empty field, and for each job, and perhaps for others, the `record`.
#
# A job is a directory $HOME/.firecrest/jobs/<id>. It exists once `start` does.
#   script   copy of the script, so that later changes do not matter, as with sbatch
#   record   id, name, directory, script, stdout, stderr, limit (s, or empty), account,
#            comment, each ended by a NUL: they may hold any other character
#   start    "<pid> <its start time> <boot id> <epoch> <local time> <group>": the supervisor,
#            and the process group that is the job: `kill -TERM -- -<group>` cancels it
#   end      "<state> <exit code> <epoch> <local time>", written last
#   supervisor, expired, cancelled
#            its program; marks that the time limit has passed, that the user ended it
#
# Everything is a function and the last line starts it: the shell has then read the whole
# program, and no command can swallow the rest of it from standard input.

JOBS=$HOME/.firecrest/jobs
login=${LOGNAME:-$(id -un)} # the name the user came by, as sshd sets it
TAB=$(printf '\t')
CR=$(printf '\r')

refuse() { # message lines: each in sbatch's own form
    for text; do
        printf 'sbatch: error: %s\n' "$text" >&2
    done
    exit 1
}

now() {
    date '+%s %Y-%m-%dT%H:%M:%S'
}

# --- submit ---------------------------------------------------------------------------

submit() {
    directory=$1 script=$2 account=$3 comment=$4
    id= limit= name=${script##*/} output=slurm-%j.out error=
    [ -f "$script" ] && [ -r "$script" ] || refuse "Unable to open file $script"
    [ -s "$script" ] || refuse 'Batch script is empty!'
    read_head
    (umask 077 && mkdir -p -- "$JOBS") || refuse "cannot create $JOBS"
    reserve
    job=$JOBS/$id
    cp -- "$script" "$job/script" && chmod 700 "$job/script" || refuse "cannot copy $script"
    expand "$output" && output=$path
    expand "${error:-$output}" && error=$path
    printf '%s\0' "$id" "$name" "$directory" "$script" "$output" "$error" \
        "$limit" "$account" "$comment" >"$job/record.new" &&
        mv -- "$job/record.new" "$job/record" &&
        supervisor >"$job/supervisor" || refuse "cannot write to $job"
    # --fork and not &, which would make the job ignore SIGINT
    reply=$(setsid --fork sh "$job/supervisor" "$job" "$id" "$directory" "$name" \
        "$output" "$error" "$limit" "$account" 2>&1 | head -n 1)
    [ "$reply" = started ] || refuse "Batch job submission failed: $reply"
    printf 'Submitted batch job %s\n' "$id"
}

# Takes the next id: of those who try to make the same directory, one succeeds.
reserve() {
    id=0
    for dir in "$JOBS"/[0-9]*; do
        [ "${dir##*/}" -gt "$id" ] 2>/dev/null && id=${dir##*/}
    done
    until id=$((id + 1)) && mkdir -m 700 -- "$JOBS/$id" 2>/dev/null; do
        [ -d "$JOBS/$id" ] || refuse "cannot create $JOBS/$id"
    done
}

# Reads the #SBATCH lines, which end at the first command.
read_head() {
    first=yes
    while IFS= read -r text || [ -n "$text" ]; do
        case $text in
            *"$CR") refuse 'Batch script contains DOS line breaks (\r\n)' \
                'instead of expected UNIX line breaks (\n).' ;;
        esac
        case $first$text in
            'yes#!'*) first= ;;
            yes*) refuse 'This does not look like a batch script.  The first' \
                'line must start with #! followed by the path to an interpreter.' \
                'For instance: #!/bin/sh' ;;
        esac
        case $text in
            '#SBATCH '* | "#SBATCH$TAB"*) read_directive "${text#'#SBATCH'}" ;;
            '#'*) ;;
            *[!" $TAB"]*) break ;;
        esac
    done <"$script"
}

# Splits a directive into words: quotes protect, \ escapes a quote or itself, # ends.
read_directive() {
    rest=$1' ' word= inside= quote= option=
    while [ -n "$rest" ]; do
        char=${rest%"${rest#?}"} rest=${rest#?}
        case $char$rest in
            \\[\"\'\\]*) word=$word${rest%"${rest#?}"} rest=${rest#?} inside=yes ;;
            [\"\']*)
                inside=yes
                case $quote in
                    '') quote=$char ;;
                    "$char") quote= ;;
                    *) word=$word$char ;;
                esac ;;
            [" $TAB#"]*)
                if [ -n "$quote" ]; then
                    word=$word$char
                    continue
                fi
                [ -z "$inside" ] || read_word "$word"
                word= inside=
                [ "$char" != '#' ] || break ;;
            *) word=$word$char inside=yes ;;
        esac
    done
    [ -z "$option" ] || refuse "option requires an argument: '$option'"
}

read_word() {
    if [ -n "$option" ]; then
        set_option "$option" "$1"
        option=
        return
    fi
    case $1 in
        -[Joet] | --job-name | --output | --error | --time) option=$1 ;;
        -[Joet]*) set_option "${1%"${1#??}"}" "${1#??}" ;;
        --*=*) set_option "${1%%=*}" "${1#*=}" ;;
    esac
}

set_option() {
    case $1 in
        -J | --job-name) name=$2 ;;
        -o | --output) output=$2 ;;
        -e | --error) error=$2 ;;
        -t | --time) seconds_of "$2" || refuse 'Invalid --time specification' ;;
    esac
}

# Sets limit from m, m:s, h:m:s, d-h, d-h:m or d-h:m:s; empty is none.
seconds_of() {
    days=0 rest=$1 limit=
    case $1 in
        UNLIMITED | INFINITE) return 0 ;;
        *-*) days=${1%%-*} rest=${1#*-}:0:0 ;;
        *:*:*) ;;
        *) rest=0:$1:0 ;;
    esac
    case $days:$rest in *[!0-9:]* | *::* | :* | *:) return 1 ;; esac
    # expr, because $(( )) takes numbers with leading zeros for octal
    hours=${rest%%:*} rest=${rest#*:}
    minutes=${rest%%:*} rest=${rest#*:}
    limit=$(expr "$days" \* 86400 + "$hours" \* 3600 + "$minutes" \* 60 + "${rest%%:*}")
    [ "$limit" != 0 ] || limit=
}

# Sets path from a file name pattern.
expand() {
    rest=$1 path=
    while [ -n "$rest" ]; do
        case $rest in
            %[jJA]*) path=$path$id rest=${rest#??} ;;
            %x*) path=$path$name rest=${rest#??} ;;
            %u*) path=$path$login rest=${rest#??} ;;
            %%*) path=$path% rest=${rest#??} ;;
            *) path=$path${rest%"${rest#?}"} rest=${rest#?} ;;
        esac
    done
    case $path in
        /*) ;;
        *) path=${directory%/}/$path ;;
    esac
}

# The program that starts a job, waits for it and records its end. It leads a session of
# its own, and so does the job: nothing that happens to the login reaches either, and a
# signal to the job reaches nobody else.
supervisor() {
    cat <<'END'
job=$1 id=$2 directory=$3 name=$4 output=$5 error=$6 limit=$7 account=$8
exec 3>&1 >/dev/null 2>&1 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-   # 3: to whoever submits

now() {
    date '+%s %Y-%m-%dT%H:%M:%S'
}

write() { # file, its one line: there at once and whole
    printf '%s\n' "$2" >"$job/$1.new" && mv -f -- "$job/$1.new" "$job/$1"
}

# What becomes the job. It makes itself known when it can be signalled, not before.
leader='
printf "%s\n" "$2 $$" >"$1/start.new" && mv -f -- "$1/start.new" "$1/start" || exit
echo started >&3
exec "$1/script" 3>&-'

run() {
    setsid sh -c "$leader" sh "$job" "$started"
    code=$?
}

born=- boot=-
if read -r line 2>/dev/null </proc/$$/stat; then
    set -- ${line##*) }
    shift 19
    born=$1
fi
read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || boot=-
started="$$ $born $boot $(now)"

if [ -n "$limit" ]; then
    (
        sleep "$limit"
        : >"$job/expired"
        read -r _ _ _ _ _ group <"$job/start"
        kill -s TERM -- "-$group"
        sleep 30
        kill -s KILL -- "-$group"
    ) 3>&- &
fi

export SLURM_JOB_ID="$id" SLURM_JOBID="$id" SLURM_JOB_NAME="$name"
export SLURM_SUBMIT_DIR="$directory" ${account:+SLURM_JOB_ACCOUNT="$account"}
code=0:53         # Slurm's code for a job whose directory or output cannot be used
if ! cd -- "$directory"; then
    :
elif [ "$output" = "$error" ]; then
    { run; } >"$output" 2>&1
else
    { { run; } 2>"$error"; } >"$output"
fi
if [ ! -e "$job/start" ]; then
    write start "$started -" 2>&3 || exit 1
    echo started >&3
fi

case $code in
    0) end='COMPLETED 0:0' ;;
    143) end='CANCELLED 0:15' ;;
    *:*) end="FAILED $code" ;;
    *) if [ "$code" -gt 128 ]; then end="FAILED 0:$((code - 128))"; else end="FAILED $code:0"; fi ;;
esac
[ ! -e "$job/cancelled" ] || end='CANCELLED 0:15'
[ ! -e "$job/expired" ] || end='TIMEOUT 0:0'
write end "$end $(now)"
# what the job left running ends with it, and the timer
read -r _ _ _ _ _ group <"$job/start"
[ "$group" = - ] || kill -s KILL -- "-$group"
kill -s KILL -- "-$$"
END
}

# --- running, all ---------------------------------------------------------------------

print_states() { # directories of jobs
    printf '%s\0' $(now) "$login" "$(uname -n)"
    read -r this_boot 2>/dev/null </proc/sys/kernel/random/boot_id || this_boot=-
    for job; do
        [ -e "$job/start" ] || continue
        read -r pid born boot start_epoch start group <"$job/start"
        # A supervisor writes `end` before it goes, so whoever misses it looks once more.
        [ -e "$job/end" ] || alive || [ -e "$job/end" ] || bury
        if [ ! -e "$job/end" ]; then
            state=RUNNING code=0:0 end_epoch= end=Unknown
        elif [ "$verb" = running ]; then
            continue
        else
            read -r state code end_epoch end <"$job/end"
        fi
        printf '%s\0' "${job##*/}" "$state" "$code" "$start_epoch" "$start" "$end_epoch" "$end"
    done
    printf '\0'
}

# Whether the supervisor lives: the number alone could be another process by now.
alive() {
    [ "$boot" = "$this_boot" ] || return 1
    [ "$born" != - ] || { kill -0 "$pid" 2>/dev/null; return; }
    read -r line 2>/dev/null <"/proc/$pid/stat" || return 1
    set -- ${line##*) }
    [ "$1" != Z ] && [ "${20}" = "$born" ]
}

# Ends the record of a job whose supervisor was killed or did not survive a reboot.
bury() {
    if [ "$boot" = "$this_boot" ]; then end='FAILED 0:9'; else end='NODE_FAIL 1:0'; fi
    printf '%s %s\n' "$end" "$(now)" >"$job/end.$$" &&
        ln -- "$job/end.$$" "$job/end" 2>/dev/null   # unless another reader was faster
    rm -f -- "$job/end.$$"
}

print_jobs() { # directories of jobs
    print_states "$@"
    for job; do
        cat -- "$job/record" 2>/dev/null
    done
}

# --- cancel ---------------------------------------------------------------------------

cancel() { # ids
    this_boot=-
    read -r this_boot 2>/dev/null </proc/sys/kernel/random/boot_id
    failed=
    for id; do
        job=$JOBS/$id group=
        if [ ! -e "$job/start" ]; then
            problem "$id" 'Invalid job id specified'
            continue
        fi
        read -r pid born boot _ _ group <"$job/start"
        if [ -e "$job/end" ] || ! alive || [ "$group" = - ]; then
            problem "$id" 'Job/step already completing or completed'
            continue
        fi
        : >"$job/cancelled"
        kill -s TERM -- "-$group"
        # what ignores that ends all the same, as with a time limit
        setsid --fork sh -c '
            sleep 30; [ -e "$1/end" ] || kill -s KILL -- "-$2"' sh "$job" "$group" \
            >/dev/null 2>&1
        printf 'scancel: Terminating job %s\n' "$id"
    done
    [ -z "$failed" ] || exit 1
}

problem() { # id, why it cannot be cancelled
    failed=yes
    printf 'Kill job error on job id %s: %s\n' "$1" "$2" >&2
}

main() {
    verb=$1
    shift
    case $verb in
        submit) submit "$@" ;;
        cancel) cancel "$@" ;;
        running)
            for job in "$JOBS"/[0-9]*; do
                [ -e "$job/end" ] || set -- "$@" "$job"
            done
            print_jobs "$@" ;;
        all)
            if [ $# -eq 0 ]; then
                print_states "$JOBS"/[0-9]*
                cat -- "$JOBS"/[0-9]*/record 2>/dev/null   # one process, for they may be many
            else
                for id; do
                    shift
                    set -- "$@" "$JOBS/$id"
                done
                print_jobs "$@"
            fi ;;
        *) printf 'firecrest: no verb %s\n' "$verb" >&2; exit 2 ;;
    esac
    exit 0
}

main "$@" </dev/null
