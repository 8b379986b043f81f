#!/bin/sh
# Makes a video with curl (7.71 or newer) and a POSIX shell. If you have jq, use it instead of `field`.
#
#     EVOLINK_API_KEY=... sh video_curl.sh "A cat playing piano" cat.mp4
#
# Against a mock: sora-mock run -- sh video_curl.sh "A cat playing piano" cat.mp4
#
# EVOLINK_BASE_URL  address of the service (https://api.evolink.ai)
# IDEMPOTENCY_KEY   the key that an earlier run printed: fetches that run's video without paying again
# POLL_SECONDS      seconds between two polls (5)
# INBOX             only on a mock: name of an inbox; the script waits there for the callback instead of polling
#
# Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 rejected by moderation.
set -u

# end CODE MESSAGE
end() {
  echo "$2" >&2
  exit "$1"
}

if [ $# -ne 2 ] || [ -z "$1" ] || [ -z "$2" ] || [ -z "${EVOLINK_API_KEY:-}" ]; then
  end 2 "usage: EVOLINK_API_KEY=... video_curl.sh PROMPT FILE"
fi
base=$(printf '%s' "${EVOLINK_BASE_URL:-https://api.evolink.ai}" | sed 's/\/*$//')
longest=1800 # seconds that a task may take
poll=${POLL_SECONDS:-5}
case $poll in
  *[!0-9.]* | *.*.* | .) end 2 "POLL_SECONDS must be a number, got $poll" ;;
esac
case $2 in
  -*) file=./$2 ;; # or commands would read it as a flag
  *) file=$2 ;;
esac

# request [curl's flags] URL: one try. Sets $head and $status (000 without a complete response), writes the body to $part.
# curl reads the key from standard input, because other users of the machine can read a command's arguments
secret="header = \"Authorization: Bearer $EVOLINK_API_KEY\""
request() {
  true > "$part"
  head=$(printf '%s\n' "$secret" | curl --silent --show-error --config - --dump-header - --output "$part" \
    --write-out '\n%{http_code}' "$@") || head=000
  status=$(printf '%s\n' "$head" | tail -n 1)
}

# fetch NAME [curl's flags] URL: sets $status and, if NAME is not empty, $body, which has a field of that name. Waits as a
# 429 says, if it says so in seconds. Tries again after faults of the service and after lost responses; an empty or
# unreadable response counts as lost
fetch() {
  name=$1 faults=0 pause=0 why=
  late=$(($(date +%s) + longest))
  shift
  while [ $faults -lt 6 ] && [ $(($(date +%s) + ${pause%.*})) -lt $late ]; do
    [ -z "$why" ] || echo "$why; again in $pause s" >&2
    sleep "$pause"
    pause=$(LC_ALL=C awk "BEGIN { printf \"%.3f\", $poll * 2 ^ $faults }")
    request "$@"
    case $status in
      200)
        found && return
        why="an unreadable response"
        ;;
      429) # not a fault: does not count as a try
        why="too many requests"
        seconds=$(printf '%s\n' "$head" | sed -n 's/^[Rr]etry-[Aa]fter: *0*\([0-9]\{1,9\}\)[[:space:]]*$/\1/p' | tail -n 1)
        pause=${seconds:-$pause}
        continue
        ;;
      000) why="no response" ;;
      5*) why="the service responded with $status" ;;
      *)
        read_body
        return
        ;;
    esac
    faults=$((faults + 1))
  done
  end 1 "$why; given up"
}

# ask NAME PATH [curl's flags]: fetch from the API
ask() {
  wanted=$1 url=$base$2
  shift 2
  fetch "$wanted" --max-time 60 "$@" "$url"
}

found() {
  [ -n "$name" ] || {
    [ -s "$part" ]
    return
  }
  read_body
  case $body in
    '{'*'}') [ -n "$(field "$name")" ] ;;
    *) return 1 ;;
  esac
}

read_body() {
  body=$(tr '\r\n' '  ' < "$part" | sed 's/ *$//')
}

# field NAME: the text or number of that name in $body; of a list, the first item
field() {
  printf '%s\n' "$body" |
    sed -n -e "s/.*\"$1\" *: *\[\{0,1\} *\"\([^\"\\\\]*\(\\\\.[^\"\\\\]*\)*\)\".*/\1/p" -e t \
      -e "s/.*\"$1\" *: *\([^\",} ]*\).*/\1/p" |
    sed 's/\\\(["\\/]\)/\1/g'
}

# reject CODE MORE: ends with the meaning of the error in $body; CODE is used if the body has no code
reject() {
  code=$(field code) message=$(field message)
  [ "$code" = content_policy_violation ] && end 4 "rejected by moderation: $message$2"
  end 1 "${code:-$1}: ${message:-no reason given}$2"
}

# create no task whose video cannot be saved
part=$file.part
if [ -d "$file" ] || ! true > "$part"; then
  end 1 "$2 cannot be written"
fi
trap 'rm -f "$part"' EXIT
trap 'exit 1' INT TERM

prompt=$(printf '%s' "$1" | tr '[:cntrl:]' '[ *]' | sed 's/[\\"]/\\&/g')
order="{\"model\": \"sora-2-beta-max\", \"prompt\": \"$prompt\"}"
if [ -n "${INBOX:-}" ]; then # only on a mock; elsewhere, use the address of your own receiver
  order="${order%\}}, \"callback_url\": \"https://inbox.sora-mock.test/$INBOX\"}"
fi

# every try sends the same key: if a response was lost, the next try gets the existing task and pays nothing
once=${IDEMPOTENCY_KEY:-video-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
echo "ordering under IDEMPOTENCY_KEY=$once" >&2
ask id /v1/videos/generations --header 'Content-Type: application/json' --header "Idempotency-Key: $once" --data "$order"
case $status in
  200) task=$(field id) ;;
  402) end 3 "not enough credits: $(field message)" ;;
  *) reject "$status" "" ;;
esac
echo "ordered: $task" >&2

if [ -n "${INBOX:-}" ]; then # only on a mock; shorter than curl's 60 s; then the script polls
  request --max-time 60 "$base/__mock/inbox/$INBOX?wait=50"
fi

over=$(($(date +%s) + longest))
while [ "$(date +%s)" -lt $over ]; do
  ask status "/v1/tasks/$task"
  [ "$status" = 200 ] || reject "$status" ""
  case $(field status) in
    completed)
      secret= # the link is on another host: do not send our key
      fetch "" --location --max-time 600 "$(field results)"
      [ "$status" = 200 ] || end 1 "the download returned $status"
      mv -f "$part" "$file" || {
        trap - EXIT
        end 1 "$2 cannot be written; the video is in $part"
      }
      echo "$2"
      exit 0
      ;;
    failed | cancelled)
      failure=$body
      request --max-time 60 "$base/v1/credits"
      read_body
      left=$(field remaining_credits)
      body=$failure
      reject "$(field status)" "; the credits came back${left:+, $left remain}"
      ;;
  esac
  echo "$(field status), $(field progress) %" >&2
  sleep "$poll"
done
end 1 "task $task has not ended after $longest s"
