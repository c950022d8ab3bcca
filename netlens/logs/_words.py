"""Words by which text tells of a refusal, and the classes they stand for.

A text tells of a refusal if it names one of the provider's codes for it, status 429 or 529, or says so in words (:data:`REFUSALS`). A failed call of which
the text says nothing but that it failed (``AI_APICallError``, ``AI_RetryError`` without a status, a code or words that are known) may be a refusal in words
of tomorrow: its class is unknown, and what its answer looked like has to tell.

Classes: what the provider said it limits. *concurrency*: what is in progress; *rate*: how much in how long; *quota*: all until a reset; *overload*: the
provider's own trouble; *other*: arrears, fair use; *unknown*: a limit of which nothing was said (status 429, "Rate limit reached for requests", which is
Z.AI's newer wording of 1302).
"""

import itertools
import re
from dataclasses import dataclass

FAULTS = ("ERROR", "WARN", "WARNING", "FATAL", "CRITICAL")  #: levels at which a record may tell of a refusal

#: A field or a word by which a record of another level says that a request is tried again; what a person wrote is never in such a field.
RETRIES = re.compile(r"(?<![\w.])(?:error(?:\.\w{1,16}){0,2}=|message=\"?(?:stream error|retry)|retry(?:ing)?\b)")

CONCURRENCY, RATE, QUOTA, OVERLOAD, OTHER, UNKNOWN = "concurrency", "rate", "quota", "overload", "other", "unknown"
CLASSES = (CONCURRENCY, RATE, QUOTA, OVERLOAD, OTHER, UNKNOWN)
#: docs.z.ai/api-reference/api-code; all of them come with status 429.
CLASS_OF_CODE = {
    "1302": CONCURRENCY,
    "1303": RATE,
    "1304": QUOTA,
    "1305": OVERLOAD,
    "1308": QUOTA,
    "1310": QUOTA,
    "1312": OVERLOAD,
    "1313": OTHER,
    "1113": OTHER,
}
#: No part of a longer number, of a version, of an identifier, of ``+429ms`` or of an amount (``429 tokens``). The number comes first, and what may not stand
#: before it is looked at behind it: patterns that begin with a text are searched for ten times as fast, and lines can be long.
_NUMBER = r"{0}(?<![\w+-]{0})(?<!\w\.{0})(?!\w|\.\w| (?:ms|s|secs?|seconds|tokens?|bytes|[kMG]?B)\b)"


def _words(*texts: str) -> re.Pattern[str]:
    """Any of some texts in any case; letters spelled out, as a pattern that ignores case is not searched for quickly."""
    return re.compile("|".join(re.sub(r"[A-Za-z]", lambda letter: f"[{letter[0].upper()}{letter[0].lower()}]", text) for text in texts))


#: Words of a refusal, what the recorder writes instead, and its class; the first that stands in a line tells it, and a code goes before all.
REFUSALS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(_NUMBER.format("1302")), "code=1302", CONCURRENCY),
    (_words("high concurrency"), '"High concurrency"', CONCURRENCY),
    (re.compile("并发(?:请求)?[数量]?(?:过高|过大|超|已?达)"), "并发数过高", CONCURRENCY),
    (
        _words(
            "concurrent connections to",
            "number of concurrent connections",
            "number of concurrent requests",
            "maximum number of concurrent",
            "too[ _]many[ _]concurrent",
            "concurren(?:cy|t[ _]?requests?)[ _]?limit",
            "userconcurrentrequests",
            "too many connections, please wait",
            "maximum concurrency",
            "organization concurrency",
            "organization max concurrency",
            "parallel request limit",
            "max parallel request",
            # of servers of models, and of a proxy's circuit breaker
            "no slots? available",
            "maximum pending requests",
            "request queue is full",
            "maximum queue size",
            "queue[_ ]timeout",
            "tim(?:ed ?out|eout) (?:while )?(?:waiting )?(?:in|for)(?: the| a)? (?:request )?queue",
            "reset reason: overflow",
        ),
        '"too many concurrent"',
        CONCURRENCY,
    ),
    # a text may name the minute beside the day; then the day is what lasts
    (
        _words(
            "daily (?:api |call |message |rate |request |token |usage ){0,2}limit",
            "daily free allocation",
            "open api total request limit",
            "userbymodelbyday",
            "weekly limit",
            "monthly limit",
            "spending limit",
            "(?:request|token)s per day",
            "(?:request|token|count|model)s?[_-]?per[_-]?(?:model[_-]?per[_-]?)?day",
            "api calls / month",
            "limit_rpd",
            "organization (?:max )?(?:rpd|tpd)",
            "每日调用上限",
            "[今当]日.{0,8}上限",
        ),
        '"daily limit"',
        QUOTA,
    ),
    (
        _words(
            "per-minute rate limit",
            "per minute request limit",
            "(?:request|token|count|model)s?[ _-]?per[ _-]?(?:model[_-]?per[_-]?)?minute",
            "userbymodelbyminute",
            "(?:rpm|tpm|qps)(?: request)?[ _]limit",
            "(?:account|rpm|tpm)ratelimitexceeded",
            "would exceed (?:the|your account's|your organization's) rate limit",
            "exceeds the frequency limit",
            "reduce your request rate",
            "api calls / minute",
            "limit_rpm",
            "free-models-per-min",
            "organization (?:max )?(?:rpm|tpm)",
            "call rate limit",
            "token rate limit",
            "exceeded your rate limit",
            "reached the rate limit",
            "rate limit is exceeded",
            "exhausted this model's rate limit",
            "request rate increased too quickly",
            "your team's rate limit",
            "too many tokens, please wait",
            "reached max request",
            "current requests list",
            "allocated quota exceeded",
            "throttling.ratequota",
            "throttling.allocationquota",
            "频率(?:过高|超)",
            "请求过于频繁",
            "qps ?超",
            "速率限制",
        ),
        '"per-minute rate limit"',
        RATE,
    ),
    (_words("not your usage limit"), '"not your usage limit"', OVERLOAD),
    (_words("usage limits. please try again later"), '"usage limits. please try again later"', UNKNOWN),
    (
        _words(
            "insufficient_quota",
            "quota exceeded",
            "call volume quota",
            "exceeded your current quota",
            "usage limit",
            "usage_limit_reached",
            "credit balance is too low",
            "servicequotaexceeded",
            "hit your limit",
            "使用上限",
        ),
        '"quota exceeded"',  # of a period that is not named
        QUOTA,
    ),
    (
        _words(
            "in arrears",
            "insufficient balance",
            "insufficient credits",
            "requires more credits",
            "no resource package",
            "fair usage policy",
            "欠费",
        ),
        '"fair usage policy"',
        OTHER,
    ),
    (
        _words(
            "overloaded_error",
            "overloadederror",
            "temporarily overloaded",
            "currently overloaded",
            "(?:model|server|service|engine|system)s?[_ ](?:is |are )?overloaded",
            "(?:model|server|service|engine|system)s? (?:is |are )?(?:currently |temporarily |too ){0,2}busy",
            "(?:model|server|service|engine|system)s? (?:is |are )(?:currently )?at capacity",
            "no capacity available",
            "capacity_exhausted",
            "experiencing high demand",
            "experiencing high traffic",
            "experiencing high load",
            "over capacity",
            "capacity (?:temporarily )?exceeded",
            "open api request limit",
            "rate-limited upstream",
            "serviceunavailableexception",
            "modelnotreadyexception",
            "503 unavailable",
            "slow_down",
            "服务器?繁忙",
            "系统繁忙",
            "请求过多",
            "访问量过大",
        ),
        "overloaded_error",
        OVERLOAD,
    ),
    (re.compile(r"(?:^\W{0,4}|[:\]]\s)[Oo]verloaded\b"), "overloaded_error", OVERLOAD),
    (re.compile(_NUMBER.format("529")), "status=529", OVERLOAD),
    (_words("rate limit reached for requests"), '"Rate limit reached for requests"', UNKNOWN),
    (
        _words(
            "rate limit reached",
            "rate limit exceeded",
            "rate_limit_error",
            "rate_limit_exceeded",
            "your organization's rate limit",
            "tokens per min",
            "requests per min",
        ),
        '"rate limit exceeded"',
        RATE,
    ),
    (_words("high frequency usage"), '"high frequency usage"', RATE),
    (_words("ratelimiterror", "rate limited", "rate_limited", "rate-limited"), '"rate limited"', UNKNOWN),
    (
        _words(
            "throttling triggered",
            "due to rate limiting",
            "throttlingexception",
            "resource_exhausted",
            "resource (?:has been )?exhausted",
        ),
        '"resource exhausted"',  # any limit, as of gRPC
        UNKNOWN,
    ),
    (_words("too many requests"), '"too many requests"', UNKNOWN),
    # HTTP/2 refuses a stream, or a client, by a code (RFC 9113 7), which libraries write down as a name or as a number
    (re.compile(r"REFUSED_STREAM|StreamReset\b.{0,40}error_code:\s?7\b"), '"REFUSED_STREAM"', UNKNOWN),
    (re.compile(r"ENHANCE_YOUR_CALM|ConnectionTerminated\b.{0,40}error_code:\s?11\b"), '"ENHANCE_YOUR_CALM"', UNKNOWN),
    # nginx's own page: what limit_conn and limit_req answer with unless they are told otherwise; a gateway with nothing behind it shows the same
    (re.compile(r"503 Service Temporarily Unavailable[\s\S]{0,200}?\bnginx\b"), '"503 Service Temporarily Unavailable nginx"', UNKNOWN),
    (re.compile(_NUMBER.format("429")), "status=429", UNKNOWN),
)
_FAILURES = (
    "AbortError", "TimeoutError", "ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "EPIPE", "ETIMEDOUT", "ServerDisconnectedError", "ConnectionError",
    "APIConnectionError", "APITimeoutError", "ReadTimeout", "ConnectTimeout", "ReadError", "ConnectError",
    "PoolTimeout", "EmptyPoolError",
)  # fmt: skip
#: Words of limits that a program sets itself: the request was never sent. litellm's Router (its own ``rpm`` and ``tpm``, and deployments that it leaves alone
#: for a while), and those that may limit anything, also a database: resilience4j, Polly, and limiters that say they are local. Where any status of
#: :data:`_ANSWERED` stands in the record, a server said them, such as litellm's proxy.
_ROUTER = re.compile(r"[Nn]o deployments available|Deployment over (?:user-)?defined r(?:ate ?limit|pm limit)|RouterRateLimitError")
_ANY_CALL = re.compile(
    r"RateLimiter '[^']{1,80}' does not permit further calls|Bulkhead '[^']{1,80}' is full and does not permit further calls"
    r"|RateLimit(?:er)?RejectedException|\b[Ll]ocal rate limit\b|\b(?:exceeded|limited|queued|throttled) locally\b|\([Cc]lient[- ]side\)"
)
_ANSWERED = re.compile(_NUMBER.format("(?:429|503)"))
#: What litellm's Router writes behind them: how earlier requests failed.
_COOLDOWNS = re.compile(r"cooldown_list=\[(?:[^\[\](){}]*\]|.*?\}\)\]|.*)", re.DOTALL)
#: OpenTelemetry's Collector could not send to whoever collects.
_EXPORT = re.compile(r"\bexporterhelper\b|\bExporting failed\b")
#: The server closed the connection before a byte of the answer, in the words of httpx and aiohttp, http.client (so of requests), Node.js, undici, curl, Go,
#: Apache's and Java's own HttpClient.
_UNANSWERED = re.compile(
    r"[Ss]erver disconnected(?: without sending a response)?(?![\w ])|RemoteDisconnected|Remote end closed connection without response|[Ss]ocket hang up"
    r"|[Oo]ther side closed|Empty reply from server|\": EOF(?!\w)|NoHttpResponseException|header parser received no bytes"
)
_CALL_FAILED, _GAVE_UP = "AI_APICallError", "AI_RetryError"
#: Statuses of requests that the server did not understand or allow, which no limit refuses; numbers that stand where one is told.
_ASKED_WRONGLY = ("400", "401", "404", "405", "408", "409", "413", "415", "422")
#: What else the recorder writes if it stands in a line; with those above, all that ever leaves one.
WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    *((pattern, text) for pattern, text, _ in sorted(REFUSALS, key=lambda refusal: "=" not in refusal[1])),  # numbers first
    *((re.compile(_NUMBER.format(code)), f"code={code}") for code in CLASS_OF_CODE if code != "1302"),
    *((re.compile(_NUMBER.format(status)), f"status={status}") for status in ("500", "502", "503", "504")),
    *((re.compile(rf"(?:^\s?|[:=(]\s?){status}(?!\w|\.\w)"), f"status={status}") for status in _ASKED_WRONGLY),
    *((re.compile(rf"{name}(?<!\w{name})\b"), name) for name in (_CALL_FAILED, _GAVE_UP, *_FAILURES)),
    (_words("stream error"), '"stream error"'),
    (_ROUTER, "No deployments available"),
    (_ANY_CALL, "RateLimiterRejectedException"),
    (_UNANSWERED, "RemoteDisconnected"),
    (_EXPORT, "Exporting failed"),
)
#: A bare number may be anything, unless it is called a code.
_NAMED = re.compile(rf"code(?<!\wcode)\b[\\\"'\s:=]{{1,8}}({'|'.join(CLASS_OF_CODE)})(?!\w|\.\w)")
_OTHER_FAILURE = tuple(
    pattern
    for pattern, text in WORDS
    if text in _FAILURES or text in ("status=500", "status=502", "status=503", "status=504", "RemoteDisconnected")
)


#: Statuses that are listed, as of what to try again upon, each higher than the one before; tries that failed one after the other are not in such an order.
_LISTED = re.compile(r"(?<![\w.])[1-5]\d\d[\"']?(?:\s{0,2}[,|/;]\s{0,2}[\"']?[1-5]\d\d[\"']?){1,40}(?![\w.])", re.ASCII)
_LISTED_ONE = re.compile(r"\d{3}", re.ASCII)
#: A count in the text format of Prometheus, behind its labels; and what is asked for.
_COUNT = re.compile(r"(?<![\w:])[A-Za-z_:][\w:]{0,100}\{(?:\s?\w{1,60}=\"[^\"{}]{0,100}\",?){1,20}\}\s?=?\s?\d[\d.e+]{0,30}", re.ASCII)
_PATH = re.compile(r"(\b(?:GET|POST|PUT|PATCH|DELETE|HEAD) [^\s\"']{0,300}?/)(?:429|529|1302)(?=[/?#\s\"'])", re.ASCII)
#: What follows is what a person asked, which may be about refusals.
_ASKED = re.compile(
    r"\b(?:user|human|customer|person|people)(?:'s)? (?:asked|asks|said|says|wrote|writes|typed|message|prompt|question|input|query)\b[^:]{0,20}:.*",
    re.IGNORECASE | re.DOTALL,
)
_ANY_CODE = re.compile("429|529|1302|50[0-4]|40[0-9]", re.ASCII)


def _told(said: str) -> str:
    """Words of the program, without numbers that look like a status or a code and say of no request what became of it."""
    said = _ASKED.sub("", said)
    if _ANY_CODE.search(said) is None:
        return said
    for pattern, text in ((_COUNT, ""), (_PATH, r"\1"), (_COOLDOWNS, "")):
        said = pattern.sub(text, said)
    return _LISTED.sub(lambda found: "" if _ascending(found[0]) else found[0], said)


def _ascending(listed: str) -> bool:
    numbers = [int(each) for each in _LISTED_ONE.findall(listed)]
    return all(before < after for before, after in itertools.pairwise(numbers))


def words(rest: str) -> list[str]:
    """The known words of the rest of a line, as the recorder writes them; codes in the order in which they stand there, as the first one counts."""
    rest = _told(rest)
    found = [(match.start(), text) for pattern, text in WORDS if (match := pattern.search(rest))]
    codes = iter(sorted(each for each in found if each[1].startswith("code=")))
    told = [next(codes)[1] if text.startswith("code=") else text for _, text in found]
    if told and (after := retry_after_s(rest)) is not None:
        told.append(f"retry-after={after:g}")
    return told


def refusal_class(rest: str) -> str | None:
    """The class of the refusal that the rest of a line speaks of; None if it speaks of none."""
    rest = _told(rest)
    if _EXPORT.search(rest) or _is_own(rest):
        return None
    if named := _NAMED.search(rest):
        return CLASS_OF_CODE[named[1]]
    for pattern, _, its_class in REFUSALS:
        if pattern.search(rest):
            return its_class
    failed = _CALL_FAILED in rest or _GAVE_UP in rest
    return UNKNOWN if failed and not any(pattern.search(rest) for pattern in _OTHER_FAILURE) else None


def _is_own(said: str) -> bool:
    """Whether a limit of the program's own is told, and no answer of a server."""
    return (_ROUTER.search(said) or _ANY_CALL.search(said)) is not None and _ANSWERED.search(said) is None


def names_status(rest: str) -> bool:
    """Whether a failure is told by a status that is no refusal."""
    rest = _told(rest)
    return any(
        pattern.search(rest)
        for pattern, text in WORDS
        if text.startswith("status=") and text not in ("status=429", "status=529", "status=503")
    )


def failure(said: str) -> str | None:
    """How a request failed that no limit refused, in the log's words: "status 401", "time-out", or the name of an error; None if it is not said."""
    said = _told(said)
    if refusal_class(said) is not None or _EXPORT.search(said):
        return None
    if _is_own(said):
        return OWN_LIMIT if _ROUTER.search(said) else None
    if status := _FAILED.search(said):
        return f"status {status[1]}"
    name = next((text for pattern, text in WORDS if text in _FAILURES and text != "AbortError" and pattern.search(said)), None)
    if name is None or name in ("ConnectionError", "APIConnectionError", "ServerDisconnectedError"):
        name = UNANSWERED if _UNANSWERED.search(said) else name
    return "time-out" if name in _TIMED_OUT else NO_PLACE if name in _POOLS else name


def in_known_words(rest: str) -> bool:
    """Whether a refusal is told in words, or by a code, that are known."""
    rest = _told(rest)
    return _NAMED.search(rest) is not None or any(pattern.search(rest) for pattern, _, _ in REFUSALS)


_RETRY_AFTER = re.compile(
    r"retry(?:ing)?[-_ ]?(?:after|in)(?P<ms>[-_]?ms)?[\"'\\]{0,4}[ :=]{1,4}[\"'\\]{0,4}"
    r"(?P<after>\d{1,7}(?:\.\d{1,9})?) ?(?P<unit>ms|s|sec|m|min)?(?!\w|\.\d|:\d)"
    r"|retryDelay[\"'\\]{0,4}: ?[\"'\\]{0,4}(?P<delay>\d{1,6}(?:\.\d{1,9})?)s\b"
    r"|try again in (?P<again>\d{1,6}(?:\.\d{1,9})?) ?(?P<of>ms|s|sec|m|min)(?![a-z])",
    re.IGNORECASE | re.ASCII,
)
MINUTE_S = 60.0
_SECONDS = {"ms": 0.001, "m": 60.0, "min": 60.0}
_DAY = next(pattern for pattern, text, _ in REFUSALS if text == '"daily limit"')
_STATUS = re.compile(r"(?<![\w.+-])(429|529)(?![\w]|\.\w)")
#: A number that is called a status or an error, or stands first; any other may be a count of anything.
_STATED = re.compile(
    r"(?:^\W{0,4}|(?:status|code|http|error|exception|response|fail\w{0,4}|refus\w{0,4}|reject\w{0,4})\W{0,4}(?:[\w/.]{1,12}\W{1,3}){0,2})(?:429|529)(?!\w|\.\w)",
    re.IGNORECASE | re.ASCII,
)
#: The same of any other status of an error; 443 is a port.
_FAILED = re.compile(
    r"(?:^\W{0,4}|(?:status|code|http|error|exception|response|fail\w{0,4})\W{0,4}(?:[\w/.]{1,12}\W{1,3}){0,2})(?!443)([45]\d\d)(?!\w|\.\w)",
    re.IGNORECASE | re.ASCII,
)
_TIMED_OUT = ("TimeoutError", "ETIMEDOUT", "APITimeoutError", "ReadTimeout", "ConnectTimeout")
#: A request waited in vain for a place in the program's own pool of connections (httpx, urllib3), and was never sent.
NO_PLACE, _POOLS = "the program's own pool of connections was full", ("PoolTimeout", "EmptyPoolError")
UNANSWERED = "closed by the server without an answer"  #: see ``_UNANSWERED``
#: See ``_ROUTER``.
OWN_LIMIT = "a limit of the program's own"
_CODES = "(?:429|529|1302)"
_COUNTED = re.compile(rf"(?<![\w+-])(?<!\w\.){_CODES}(?!\w|\.\w)", re.ASCII)
#: Where a code stands that is not called one: first or last, in brackets, behind an arrow, a method and its path, or a word that says it came.
_PLACE = re.compile(
    rf"^\W{{0,4}}{_CODES}(?!\w|\.\w)(?! [a-z])|[\[(]{_CODES}[\])]|(?<![=\d.,])(?<!\w: ){_CODES}\W{{0,4}}$"
    r"|(?:->|[-=]>|<-|→|←|⇒|\b(?:GET|POST|PUT|PATCH|DELETE|HEAD)\b.{1,300}?|\b(?:got|gets?|receiv\w{1,3}|return\w{0,3}|repl\w{1,4}|answer\w{0,3}|gave|with|rc)"
    rf"\W{{1,4}}(?:an? )?)\s{{0,4}}\W?{_CODES}(?!\w|\.\w)",
    re.ASCII,
)
_OF_ERRORS = re.compile(
    r"\b(?:status|code|http|err(?:or|ors)?\b|exception|fail|refus|reject|limit|throttl|retr(?:y|ies)|too many|denied|unavailable|quota|back(?:ing)?[ -]?off"
    r"|slow down)"
    r"|(?:error|exception)\b",
    re.IGNORECASE | re.ASCII,
)
_BARE = (re.compile(_NUMBER.format("429")), re.compile(_NUMBER.format("529")))


def retry_after_s(rest: str) -> float | None:
    """How long the program waits before it tries again, or is told to, in seconds."""
    if "try" not in rest.lower() or (found := _RETRY_AFTER.search(rest)) is None:
        return None
    if found["delay"]:
        return float(found["delay"])
    if found["again"]:
        return float(found["again"]) * _SECONDS.get(found["of"].lower(), 1.0)
    unit = "ms" if found["ms"] else (found["unit"] or "s").lower()
    return float(found["after"]) * _SECONDS.get(unit, 1.0)


_CODE = re.compile(r"(?<![\w+-])(?<!\w\.)(?P<code>1113|130[0-9]|131[0-9])(?!\w|\.\w)")


def whole(rest: str, /) -> str:
    """``said`` of a format whose lines are words from the head on."""
    return rest


@dataclass(frozen=True)
class Refusal:
    """What a record says of a refused request; None where it does not say.  bare : all that it says is a number that is not called a status.
    passing : a quota of a period that is not named, and another try within a minute, which Gemini says of quotas of a minute and of a day alike."""

    refusal_class: str
    code: str | None = None
    status: int | None = None
    retry_after_s: float | None = None
    bare: bool = False
    passing: bool = False


def refusal(said: str, *, fault: bool = True) -> Refusal | None:
    """What words say of a refusal; None if they tell of none.  fault : their record calls itself a warning or an error; in any other a number must stand where
    codes stand, or beside words of an error."""
    said = _told(said)
    if (its_class := refusal_class(said)) is None or (not fault and _counts(said)):
        return None
    code, status, after = _CODE.search(said), _STATUS.search(said), retry_after_s(said)
    bare = not code and _only_a_number(said)
    passing = its_class == QUOTA and after is not None and after <= MINUTE_S and not _DAY.search(said)
    return Refusal(its_class, code["code"] if code else None, int(status[1]) if status else None, after, bare, passing)


def _counts(said: str) -> bool:
    """Whether nothing but a number tells of a refusal that may be one of files, and no word is near that speaks of an error."""
    if _PLACE.search(said) or _OF_ERRORS.search(said):
        return False
    return refusal_class(_COUNTED.sub("", said)) is None


def _only_a_number(said: str) -> bool:
    """Whether nothing but a number, which nobody calls a status, tells of a refusal."""
    return (
        any(pattern.search(said) for pattern in _BARE)
        and _STATED.search(said) is None
        and not any(pattern.search(said) for pattern, _, _ in REFUSALS if pattern not in _BARE)
    )
