# A copy between a file here and the object store, detached from whoever started it.
#
# This program comes on the standard input of `sh -s -- <verb> <argument>...`. In front of it
# `begin` gets `settings=<text>`, curl's configuration, and for a copy in parts `list_1=<text>`
# and so on, what each of those that work at the same time has to move. There are the presigned
# URLs, which must not be an argument or in the environment of any process. It needs POSIX sh,
# coreutils and curl.
#
#   begin <place> <direction> <source> <algorithm> [<part size> <workers> <earlier place>]
#                    start, unless it was; then wait a little
#   look <place>     tell how far it is
#   discard <place or prefix>    end and remove it, and every <prefix>.<attempt>; nothing else
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
#   run/at.*  "<pid> <where it began>" of the processes that read or write the file
#   run/exit  curl's exit status, written last, into space that was taken at the beginning
# and for a copy in parts
#   run/cut   "<size of a part> <size of the file>"
#   run/done.*  "<number> <checksum>" of each part that is moved
#   kept      the same of an earlier attempt, whose file this one goes on with
#   run/failed  curl's exit status of the first part that could not be moved
#
# A line of a list is "<number> <offset> <bytes> <checksum at the store, or -> <URL>"; a
# part whose checksum is that of the file here is not sent again. The URL "-" is that of a part
# that needs no more than to be counted.
#
# begin and look print a state, the checksum and what curl said, each ended by a line's end:
#   gone | idle | running <bytes> <parts> | lost <bytes> <parts> | ended <exit status>
# The checksum of a copy in parts is that of all parts, one behind the other.

unset CDPATH

# Go to a place. Whoever may write into the directory it lies in could have put another there.
enter() {
    [ ! -h "$1" ] && cd -- "$1" 2>/dev/null && [ -O . ] || { printf 'gone\n\n'; exit 0; }
}

# Whether this is a place, and not just called one: it is the user's own, nobody else may enter, and
# there is nothing else in it. (NFS keeps a file that is still open under another name.)
is_place() {
    [ -O . ] || return 1
    case $(stat -c %a .) in 700 | [2-7]700) ;; *) return 1 ;; esac
    for name in * .[!.]* ..?*; do
        case $name in run | data | kept | .nfs*) continue ;; esac
        [ ! -e "$name" ] && [ ! -h "$name" ] || return 1
    done
}

report() {
    if [ -e run/exit ]; then
        read -r code <run/exit
        state="ended $code"
    elif [ ! -d run ]; then
        state=idle
    elif [ ! -e run/pid ] || alive; then
        moved
        state="running $bytes $parts"
    elif [ -e run/exit ]; then   # it ended between the two looks
        read -r code <run/exit
        state="ended $code"
    else
        moved
        state="lost $bytes $parts"
    fi
    sum=$(head -n 1 run/sum 2>/dev/null) # there, but empty, while it is computed
    printf '%s\n' "$state" "$sum"
    head -c 2000 run/said 2>/dev/null
    exit 0
}

# Bytes and whole parts that have been moved. How far who moves them is in the file only the
# system knows, if it does.
moved() {
    parts=0 total=
    if [ -e run/cut ]; then
        read -r cut total <run/cut
        parts=$(cat run/done.* 2>/dev/null | wc -l)
        bytes=$((parts * cut))
    else
        bytes=$(stat -L -c %s data 2>/dev/null) || bytes=0
        [ ! -h data ] || total=$bytes
    fi
    for at in run/at.*; do
        { read -r mover from <"$at" && position "$mover"; } 2>/dev/null || continue
        [ -e run/cut ] || bytes=0
        [ "$where" -lt "$from" ] || bytes=$((bytes + where - from))
    done
    # the last part is a short one
    [ -z "$total" ] || [ "$bytes" -le "$total" ] || bytes=$total
}

position() {
    for fd in "/proc/$1/fd"/*; do
        [ "$fd" -ef data ] || continue
        read -r _ where <"/proc/$1/fdinfo/${fd##*/}" && return
    done
    return 1
}

# Whether the leader lives, as far as it can be known here: the number alone could be another
# process by now, and on another node nothing can be seen.
alive() {
    read -r pid born node <run/pid
    case $pid in '' | *[!0-9]* | 0* | 1) return 1 ;; esac
    [ "$node" = "$(uname -n)" ] || return 0
    [ "$born" != - ] || { kill -0 "$pid" 2>/dev/null; return; }
    read -r line 2>/dev/null <"/proc/$pid/stat" || return 1
    set -- ${line##*) }
    [ "$1" != Z ] && [ "${20}" = "$born" ]
}

# How what leads a copy begins and ends.
leading='
announce() {
    born=-
    if read -r line 2>/dev/null </proc/$$/stat; then
        set -- ${line##*) }
        shift 19
        born=$1
    fi
    printf "%s %s %s\n" "$$" "$born" "$(uname -n)" >run/pid.new && mv run/pid.new run/pid
}
finish() {
    printf "%-15s\n" "$1" 1<>run/exit.new
    mv run/exit.new run/exit
    # whoever fetches the end ends this, too; if nobody ever does, nothing stays
    exec >/dev/null 2>&1
    sleep 86400 && rm -rf run && rm -f data kept && cd / && rmdir -- "$place"
}
'

# What leads a copy in one piece: curl, then the exit status. A push is summed while it is read.
leader='
direction=$1 algorithm=$2 place=$PWD
exec 3<run/settings && rm -f run/settings
announce
sum() {
    [ -z "$algorithm" ] || "${algorithm}sum" <data >run/sum
}
[ "$direction" != push ] || sum 3<&- &
summing=$!
curl --config - <&3 >/dev/null 2>run/said 3<&- &
moving=$!
exec 3<&-
[ "$direction" != push ] || echo "$moving 0" >run/at.1
wait "$moving"
code=$?
[ "$direction" != push ] || wait "$summing"
[ "$direction" = push ] || [ "$code" != 0 ] || sum
finish "$code"
'

# What leads a copy in parts. Each worker goes through a list of its own; a part that fails is
# tried again, and when one has failed for good all stop after the part they are at.
crew='
direction=$1 algorithm=$2 workers=$3 place=$PWD
each=
case $algorithm in *-parts) each=${algorithm%-parts} ;; esac
settings=$(cat run/settings)
rm -f run/settings
announce

# Where a process begins in the file, for whoever asks how far it is; and becomes dd.
copy() {
    { read -r me _ </proc/self/stat && echo "$me $at" >"run/at.$worker"; } 2>/dev/null
    exec dd bs=1048576 count="$size" "$@"
}
sum() {
    dd if=data bs=1048576 skip="$at" count="$size" iflag=fullblock,skip_bytes,count_bytes \
        2>/dev/null | "${each}sum" | { read -r hex _ && echo "$hex"; }
}
push() {
    [ "$(stat -L -c %s data)" -ge $((at + size)) ] || {
        last=1
        echo "The file has become shorter" >"run/said.$worker"
        return 26
    }
    printf "%s\n" "$settings" "url = \"$url\"" "upload-file = \"-\"" \
        "header = \"Transfer-Encoding:\"" "header = \"Content-Length: $size\"" | {
        exec 4<&0
        (copy if=data skip="$at" iflag=fullblock,skip_bytes,count_bytes 2>/dev/null 4<&-) |
            curl --config /dev/fd/4 >/dev/null 2>"run/said.$worker"
    }
}
pull() {
    {
        printf "%s\n" "$settings" "url = \"$url\"" "range = \"$at-$((at + size - 1))\"" |
            curl --config - 2>"run/said.$worker"
        echo $? >"run/code.$worker"
    } | (
        copy of=data seek="$at" conv=notrunc iflag=fullblock,count_bytes oflag=seek_bytes \
            2>"run/wrote.$worker"
    )
    wrote=$?
    read -r code <"run/code.$worker" || code=23
    if [ "$wrote" != 0 ]; then
        last=1
        head -n 1 "run/wrote.$worker" >"run/said.$worker"
        return 23
    fi
    [ "$code" = 0 ] || return "$code"
    written=$(tail -n 1 "run/wrote.$worker")
    [ "${written%% *}" = "$size" ] || {
        echo "$written" >"run/said.$worker"
        return 18
    }
}
# Whether the part need not be moved: what is at both ends is known to be the same.
settled() {
    hex=-
    [ "$url" != - ] || return 0
    if [ -s kept ]; then
        known=$(grep "^$number " kept) || return 1
        given=${known##* }
        [ -n "$each" ] || return 0
    fi
    [ "$given" != - ] && hex=$(sum) && [ "$hex" = "$given" ]
}
part() {
    last= code=0
    for pause in 1 3 -; do
        if [ "$direction" = push ] && [ -n "$each" ]; then
            sum >"run/sum.$worker" &
            push
            code=$?
            wait
            read -r hex <"run/sum.$worker"
        else
            "$direction"
            code=$?
            [ "$code" != 0 ] || [ -z "$each" ] || hex=$(sum)
        fi
        [ "$code" != 0 ] || return 0
        # a URL that has expired, an object that is gone or is another one by now: so it stays
        case $(cat "run/said.$worker") in *" error: 40"[34]*|*" error: 412"*) last=1 ;; esac
        [ "$pause" != - ] && [ -z "$last" ] && [ ! -e run/failed ] || return "$code"
        sleep "$pause"
    done
}
work() {
    worker=$1
    exec 3<"run/list.$worker" && rm -f "run/list.$worker" || exit
    while read -r number at size given url <&3; do
        [ ! -e run/failed ] || exit
        if settled 3<&- || part 3<&-; then
            echo "$number $hex" >>"run/done.$worker" && continue
            code=23
        fi
        cat "run/said.$worker" >run/said 2>/dev/null
        echo "$code" >run/failed
        exit
    done
}
worker=0
while [ $((worker += 1)) -le "$workers" ]; do
    work "$worker" &
done
wait
rm -f run/list.*
code=0
read -r cut total <run/cut
if [ -e run/failed ]; then
    read -r code <run/failed || code=23
elif [ "$(cat run/done.* | wc -l)" -ne $(((total + cut - 1) / cut)) ]; then
    code=23 # not even a failure could be written down
elif [ -n "$each" ]; then
    cat run/done.* | sort -n | cut -d " " -f 2 | tr -d "\n" >run/sum
elif [ "$direction" = pull ] && [ -n "$algorithm" ]; then
    "${algorithm}sum" <data >run/sum
fi
finish "$code"
'

begin() {
    place=$1 direction=$2 source=$3 algorithm=$4 cut=$5 workers=$6 earlier=$7
    case $source in /*) ;; *) source=$PWD/$source ;; esac
    case $earlier in ''|/*) ;; *) earlier=$PWD/$earlier ;; esac
    enter "$place"
    umask 077
    # one of an upload is closed to others from its beginning
    [ "$direction" != push ] || chmod 700 . || exit
    if ! mkdir run 2>/dev/null; then
        [ -d run ] || { echo "cannot create $place/run" >&2; exit 1; }
        report
    fi
    [ "$direction" != push ] || ln -s -- "$source" data || exit
    { printf '%15s\n' '' >run/exit.new && printf '%s' "$settings" >run/settings; } || exit
    if [ -n "$cut" ]; then
        echo "$cut" >run/cut || exit
        [ -z "$earlier" ] || go_on_with "$earlier"
        worker=0
        while [ $((worker += 1)) -le "$workers" ]; do
            eval "printf '%s' \"\$list_$worker\"" >"run/list.$worker" || exit
        done
        leader=$crew
    fi
    if command -v setsid >/dev/null; then apart=setsid; else apart=nohup; fi
    $apart sh -c "$leading$leader" sh "$direction" "$algorithm" "$workers" \
        </dev/null >/dev/null 2>&1 &
    # most are small: their end is told at once
    looks=0
    until [ -e run/exit ] || [ $((looks += 1)) -gt 50 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        [ ! -e run/pid ] || alive || break
    done
    report
}

# Take over what an earlier attempt has fetched, if it surely fetches no more.
go_on_with() {
    ([ ! -h "$1" ] && cd -- "$1" && is_place && [ -e run/pid ] && ended) 2>/dev/null || return 0
    cat "$1"/kept "$1"/run/done.* 2>/dev/null | sort -u -n -k 1,1 >kept
    mv -- "$1/data" data || rm -f kept
    [ -f data ] && [ ! -h data ] && [ -O data ] || rm -f data kept
    discard "$1"
}

# End a copy; whether it is known to have ended.
ended() {
    read -r pid born node <run/pid
    [ "$node" = "$(uname -n)" ] || return 1
    ! alive || kill -s KILL -- "-$pid" || return 1
    looks=0
    while kill -0 -- "-$pid"; do
        [ $((looks += 1)) -le 50 ] || return 1
        sleep 0.05 || sleep 1
    done
}

discard() {
    # who begins just now, for an owner that has died, may still write into it
    looks=0
    until emptied "$1" || [ $((looks += 1)) -gt 20 ]; do
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# End what goes on in a place, and remove it; whether there is none any more. What is removed is
# named, from within: by its path it could be another directory by now.
emptied() {
    (
        [ ! -h "$1" ] && cd -- "$1" && is_place || exit 1
        [ -e run/pid ] && alive && [ "$node" = "$(uname -n)" ] && kill -s KILL -- "-$pid"
        rm -rf run
        rm -f data kept
        exit 0
    ) 2>/dev/null || {
        rmdir -- "$1" 2>/dev/null # one in which nothing has begun
        return 0
    }
    rmdir -- "$1" 2>/dev/null
}

main() {
    verb=$1
    shift
    case $verb in
        begin) begin "$@" ;;
        look) enter "$1"
              report ;;
        discard) for place in "$1" "$1".*; do discard "$place"; done ;;
        *) printf 'firecrest: no verb %s\n' "$verb" >&2; exit 2 ;;
    esac
}

main "$@" </dev/null
