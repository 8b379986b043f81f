#!/bin/sh
# Makes a video with curl (7.71 or newer) and a POSIX shell. Where you have jq, use it in the place of `field`.
#
#     EVOLINK_API_KEY=... sh video_curl.sh "A cat playing piano" cat.mp4
#
# Against a mock: sora-mock run -- sh video_curl.sh "A cat playing piano" cat.mp4
#
# EVOLINK_BASE_URL  another service (https://api.evolink.ai)
# POLL_SECONDS      pause between two looks at the task (5)
# INBOX             only on a mock: a name; the task's callback is waited for there, instead of looking again and again
#
# Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.
set -u

base=${EVOLINK_BASE_URL:-https://api.evolink.ai}
if [ $# -ne 2 ] || [ -z "${EVOLINK_API_KEY:-}" ]; then
  echo "usage: EVOLINK_API_KEY=... video_curl.sh PROMPT FILE" >&2
  exit 2
fi

# end CODE MESSAGE
end() {
  echo "$2" >&2
  exit "$1"
}

# fetch [curl's flags] URL: sets $status, and puts the body into $part, which curl empties before each try. curl waits
# as a 429 says, and tries again after faults of the service and where no answer came or one was cut off
fetch() {
  true > "$part"
  status=$(curl --silent --show-error --retry 5 --retry-all-errors --output "$part" --write-out '%{http_code}' "$@") ||
    end 1 "no answer"
}

# ask PATH [curl's flags]: sets $status and $body. An answer that cannot be read is as good as lost and asked for again.
# The key goes in on a file descriptor, because other users of the machine can read a command's arguments
ask() {
  path=$1
  shift
  for pause in 0 1 2 4 8 16; do
    sleep $pause
    fetch --max-time 60 --config /dev/fd/3 "$@" "$base$path" 3<<KEY
header = "Authorization: Bearer $EVOLINK_API_KEY"
KEY
    body=$(tr '\r\n' '  ' < "$part" | sed 's/ *$//')
    [ "$status" = 200 ] || return
    case $body in
      '{'*'}') return ;;
    esac
    echo "an answer that cannot be read" >&2
  done
  end 1 "no answer that can be read, 6 times"
}

# field NAME: the text or number of that name in $body, of a list the first
field() {
  printf '%s\n' "$body" |
    sed -n -e "s/.*\"$1\" *: *\[\{0,1\} *\"\([^\"\\\\]*\(\\\\.[^\"\\\\]*\)*\)\".*/\1/p" -e t \
      -e "s/.*\"$1\" *: *\([^\",} ]*\).*/\1/p" |
    sed 's/\\\(["\\/]\)/\1/g'
}

# refuse: ends with what the error in $body means
refuse() {
  [ "$(field code)" = content_policy_violation ] && end 4 "refused by moderation: $(field message)$1"
  end 1 "$(field code): $(field message)$1"
}

# what cannot be saved is not ordered
part=$2.part
if [ -d "$2" ] || ! true > "$part"; then
  end 1 "$2 cannot be written"
fi
trap 'rm -f "$part"' EXIT
trap 'exit 1' INT TERM

prompt=$(printf '%s' "$1" | tr '[:cntrl:]' '[ *]' | sed 's/[\\"]/\\&/g')
order="{\"model\": \"sora-2-beta-max\", \"prompt\": \"$prompt\"}"
if [ -n "${INBOX:-}" ]; then # only on a mock: elsewhere give the address of a receiver of your own
  order="${order%\}}, \"callback_url\": \"https://inbox.sora-mock.test/$INBOX\"}"
fi

# all tries carry the same key: where a reply was lost, the next one gets the task that exists and pays nothing
once=video-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
ask /v1/videos/generations --header 'Content-Type: application/json' --header "Idempotency-Key: $once" --data "$order"
case $status in
  200) task=$(field id) ;;
  402)
    ask /v1/credits
    end 3 "not enough credits: $(field remaining_credits) remain"
    ;;
  *) refuse "" ;;
esac
echo "ordered: $task" >&2

if [ -n "${INBOX:-}" ]; then # only on a mock; for less than curl's 60 s, then we look
  ask "/__mock/inbox/$INBOX?wait=50"
fi

over=$(($(date +%s) + 1800))
while [ "$(date +%s)" -lt $over ]; do
  ask "/v1/tasks/$task"
  [ "$status" = 200 ] || refuse ""
  case $(field status) in
    completed)
      # without our key, for the link is on another host
      fetch --location --max-time 600 "$(field results)"
      [ "$status" = 200 ] || end 1 "the download answers $status"
      mv "$part" "$2" || end 1 "$2 cannot be written"
      echo "$2"
      exit 0
      ;;
    failed | cancelled)
      failure=$body
      ask /v1/credits
      left=$(field remaining_credits)
      body=$failure
      refuse "; the credits came back, $left remain"
      ;;
  esac
  echo "$(field status), $(field progress) %" >&2
  sleep "${POLL_SECONDS:-5}"
done
end 1 "task $task was not over after 1800 s"
