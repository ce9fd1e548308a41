# A copy between a file here and the object store, detached from whoever started it.
#
# This program comes on the standard input of `sh -s -- <verb> <argument>...`. In front of it
# `begin` gets `settings=<text>`, curl's configuration with the presigned URL, which must not be
# an argument or in the environment of any process. It needs POSIX sh, coreutils and curl.
#
#   begin <place> <direction> <source> <algorithm>   start, unless it was; then wait a little
#   look <place>                                     tell how far it is
#   discard <prefix>                                 end and remove every <prefix>.<attempt>
#
# What nobody discards, as that of a task that was retired meanwhile, removes itself a day after
# its end.
#
# A place is the directory of one attempt. Without it nothing starts, so that what is discarded
# cannot begin late. It holds
#   data      the file, or for a push a link to it
#   run       exists once somebody has begun: of several one succeeds
#   run/pid   "<pid> <its start time> <node>" of the process that leads the copy
#   run/said  curl's errors       run/sum   the checksum of the file
#   run/exit  curl's exit status, written last, into space that was taken at the beginning
#
# begin and look print a state, the checksum and what curl said, each ended by a line's end:
#   gone | idle | running <bytes> | lost <bytes> | ended <exit status>

unset CDPATH

report() {
    bytes=$(stat -L -c %s data 2>/dev/null) || bytes=0
    if [ -e run/exit ]; then
        read -r code <run/exit
        state="ended $code"
    elif [ ! -d run ]; then
        state=idle
    elif [ ! -e run/pid ] || alive; then
        state="running $bytes"
    elif [ -e run/exit ]; then   # it ended between the two looks
        read -r code <run/exit
        state="ended $code"
    else
        state="lost $bytes"
    fi
    sum=$(head -n 1 run/sum 2>/dev/null) # there, but empty, while it is computed
    printf '%s\n' "$state" "$sum"
    head -c 2000 run/said 2>/dev/null
    exit 0
}

# Whether the leader lives, as far as it can be known here: the number alone could be another
# process by now, and on another node nothing can be seen.
alive() {
    read -r pid born node <run/pid
    [ "$node" = "$(uname -n)" ] || return 0
    [ "$born" != - ] || { kill -0 "$pid" 2>/dev/null; return; }
    read -r line 2>/dev/null <"/proc/$pid/stat" || return 1
    set -- ${line##*) }
    [ "$1" != Z ] && [ "${20}" = "$born" ]
}

# What leads the copy: curl, then the exit status. A push is summed while it is read.
leader='
direction=$1 algorithm=$2 place=$PWD
exec 3<run/settings && rm -f run/settings
born=-
if read -r line 2>/dev/null </proc/$$/stat; then
    set -- ${line##*) }
    shift 19
    born=$1
fi
printf "%s %s %s\n" "$$" "$born" "$(uname -n)" >run/pid.new && mv run/pid.new run/pid
sum() {
    [ -z "$algorithm" ] || "${algorithm}sum" <data >run/sum
}
[ "$direction" != push ] || sum 3<&- &
curl --config - <&3 >/dev/null 2>run/said 3<&-
code=$?
wait
[ "$direction" = push ] || [ "$code" != 0 ] || sum
printf "%-15s\n" "$code" 1<>run/exit.new
mv run/exit.new run/exit
# whoever fetches the end ends this, too; if nobody ever does, nothing stays
exec >/dev/null 2>&1
sleep 86400 && [ -d run ] && cd / && rm -rf -- "$place"
'

begin() {
    place=$1 direction=$2 source=$3 algorithm=$4
    case $source in /*) ;; *) source=$PWD/$source ;; esac
    cd -- "$place" 2>/dev/null || { printf 'gone\n\n'; exit 0; }
    umask 077
    if ! mkdir run 2>/dev/null; then
        [ -d run ] || { echo "cannot create $place/run" >&2; exit 1; }
        report
    fi
    [ "$direction" != push ] || ln -s -- "$source" data || exit
    { printf '%15s\n' '' >run/exit.new && printf '%s' "$settings" >run/settings; } || exit
    if command -v setsid >/dev/null; then apart=setsid; else apart=nohup; fi
    $apart sh -c "$leader" sh "$direction" "$algorithm" </dev/null >/dev/null 2>&1 &
    # most are small: their end is told at once
    looks=0
    until [ -e run/exit ] || [ $((looks += 1)) -gt 50 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        [ ! -e run/pid ] || alive || break
    done
    report
}

discard() {
    for place in "$1".*; do
        [ -d "$place" ] || continue
        (
            cd -- "$place" || exit
            [ -e run/pid ] && alive && [ "$node" = "$(uname -n)" ] && kill -s KILL -- "-$pid"
        ) 2>/dev/null
        rm -rf -- "$place"
    done
    exit 0
}

main() {
    verb=$1
    shift
    case $verb in
        begin) begin "$@" ;;
        look) cd -- "$1" 2>/dev/null || { printf 'gone\n\n'; exit 0; }
              report ;;
        discard) discard "$@" ;;
        *) printf 'firecrest: no verb %s\n' "$verb" >&2; exit 2 ;;
    esac
}

main "$@" </dev/null
