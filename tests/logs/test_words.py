"""In which words providers refuse, and what they say they limit."""

from __future__ import annotations

import pytest

from netlens import logs

WORDS = {
    "concurrency": [
        "Your account reached max organization concurrency: 3, please try again after 1 seconds",
        "max parallel request limit reached",
        "Too many concurrent requests",
        "Number of concurrent connections has exceeded your rate limit. Please try again later or contact sales",
        "request reached organization max concurrency: 3",
        "Rate limit of 2 per 0s exceeded for UserConcurrentRequests. Please wait 0 seconds before retrying.",
        '{"error":{"code":503,"message":"no slot available","type":"unavailable_error"}}',
        "server busy, please try again.  maximum pending requests exceeded",
        "ThrottlingException: Too many connections, please wait before trying again.",
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        "The request queue is full.",
        '{"error": {"code": "queue_timeout", "message": "Request timed out while waiting in queue, please retry"}}',
        "429 - Concurrency limit reached for requests",
        "EXCEED_CONCURRENT_REQUEST_LIMIT",
        "too_many_concurrent_requests",
        "当前并发请求数超过限制",
    ],
    "rate": [
        "Requests to this operation have exceeded call rate limit of your current OpenAI S0 pricing tier",
        "Too many tokens, please wait before trying again.",
        "Number of request tokens has exceeded your per-minute rate limit",
        "you have exceeded your rate limit",
        "Quota exceeded for quota metric 'GenerateRequestsPerMinutePerProjectPerModel'",
        "您的账户已达到速率限制",
        "429 Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model with base model: x.",
        "429 RESOURCE_EXHAUSTED. {'violations': [{'quotaId': 'GenerateContentInputTokensPerModelPerMinute-FreeTier'}]}",
        "Rate limit exceeded: free-models-per-min.",
        "Rate limit is exceeded. Try again in 30 seconds.",
        "You are past the per minute request limit, please wait and try again later.",
        "You are using a Trial key, which is limited to 10 API calls / minute.",
        "Too many requests for team X and model Y. Your team's rate limit is: Requests per Second (actual/limit): 5/4",
        "request reached organization max RPM: 3, please try again after 1 seconds",
        "request reached organization TPM rate limit, current: 5, limit: 4",
        "You have reached the rate limit specific to this model. The maximum rate limit for this model is 9.0 queries per minute.",
        "Allocated quota exceeded, please increase your quota limit.",
        "Rate limit of 10 per 60s exceeded for UserByModelByMinute. Please wait 42 seconds before retrying.",
        '{"error_code": 18, "error_msg": "Open api qps request limit reached"}',
        "Request was rejected due to rate limiting. Details: RPM limit reached.",
        "AccountRateLimitExceeded",
        "This request would exceed your account's rate limit. Please try again later.",
        "Your current request times equals to `20` in a second, which exceeds the frequency limit `20` for a second.",
        "429 Quota exceeded for quota metric 'Generate Content API requests per minute'",
        "您的请求过于频繁，请稍后再试",
    ],
    "quota": [
        "You exceeded your current quota, please check your plan and billing details.",
        "You've hit your limit · resets 3pm",
        "ServiceQuotaExceededException: quota",
        "Rate limit reached for gpt-4.1 in organization org-X on requests per day (RPD): Limit 40, Used 40, Requested 1.",
        "Rate limit reached for model `llama` on tokens per day (TPD): Limit 500000, Used 499990, Requested 1200.",
        "已达到 5 小时的使用上限",
        "429 RESOURCE_EXHAUSTED. {'quotaId': 'GenerateRequestsPerDayPerProjectPerModel-FreeTier', 'retryDelay': '45s'}",
        "{'quotaId': 'GenerateRequestsPerMinutePerProjectPerModel'}, {'quotaId': 'GenerateRequestsPerDayPerProjectPerModel'}",
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        "Rate limit exceeded: free-models-per-day-high-balance.",
        "You are using a Trial key, which is limited to 1000 API calls / month.",
        "Number of request tokens has exceeded your daily rate limit",
        "Too many tokens per day, please wait before trying again.",
        "Your team has either used all available credits or reached its monthly spending limit.",
        "request reached organization TPD rate limit, current: 5, limit: 4",
        "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 63437 seconds before retrying.",
        '{"error_code": 17, "error_msg": "Open api daily request limit reached"}',
        '{"error_code": 19, "error_msg": "Open api total request limit reached"}',
        "Daily request limit reached for your plan. The counter resets at 00:00 UTC.",
        "you have used up your daily free allocation of 10,000 neurons",
        "今日调用次数已达上限",
        "Out of call volume quota. Quota will be replenished in 10:00:00.",
    ],
    "overload": [
        "request failed: HTTP 503: {'error': {'message': 'The server is overloaded or not ready yet.', 'type': 'server_error'}}",
        "The model is currently experiencing high traffic. Please try again later or switch to another model.",
        "This model is currently experiencing high demand.",
        "Service tier capacity exceeded for this model.",
        "Capacity temporarily exceeded, please try again.",
        '{"error_code": 4, "error_msg": "Open api request limit reached"}',
        "the model is temporarily rate-limited upstream",
        "503 UNAVAILABLE",
        "当前 API 请求过多，请稍后重试",
        "Service is too busy. We advise users to temporarily switch to alternative LLM API service providers.",
        "The server is busy. Please try again later.",
        "Engine overloaded",
        "Model too busy, unable to get response in less than 60 second(s)",
        "Selected model is at capacity. Please try a different model.",
        "No capacity available for model on the server, RESOURCE_EXHAUSTED",
        "Server is temporarily limiting requests (not your usage limit) · Rate limited",
        "服务器繁忙，请稍后再试",
    ],
    "other": [
        "Insufficient balance or no resource package. Please recharge.",
        "does not comply with the Fair Usage Policy",
        "Your account is in arrears",
        "This request requires more credits, or fewer max_tokens.",
    ],
    "unknown": [
        "Resource has been exhausted (e.g. check quota).",
        "Requests throttling triggered.",
        "Request was rejected due to rate limiting",
        "Error code: 429 - {'error': {'message': 'No deployments available for selected model'}}",
        "API request failed with status 429: litellm.RateLimitError: No deployments available for selected model",
        'code=429 {"error":{"message":"No deployments available for selected model, cooldown_list=[]","type":"None","code":"429"}}',
        "request failed, got 429: No deployments available for selected model, Try again in 5 seconds",
        "request failed (429): No deployments available for selected model",
        "APIError 429: RouterRateLimitError",
        "response 429 Too Many Requests from upstream; body: Bulkhead 'x' is full and does not permit further calls",
        "local_rate_limited",
        "HTTP 503: <head><title>503 Service Temporarily Unavailable</title></head>\r\n<body><hr><center>nginx/1.26.3</center>",
        "ThrottlingException: Too many requests, please wait before trying again.",
        "Too Many Requests: You have exceeded your usage limits. Please try again later",
        "RemoteProtocolError: <StreamReset stream_id:7, error_code:7, remote_reset:True>",
        "stream error: stream ID 5; REFUSED_STREAM; received from peer",
        "NghttpError: Stream closed with error code NGHTTP2_REFUSED_STREAM",
        "curl: (92) HTTP/2 stream 5 was not closed cleanly: REFUSED_STREAM (err 7)",
        "okhttp3.internal.http2.StreamResetException: stream was reset: REFUSED_STREAM",
        "RemoteProtocolError: <ConnectionTerminated error_code:11, last_stream_id:0, additional_data:None>",
        'http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=ENHANCE_YOUR_CALM, debug=""',
        "Session closed with error code NGHTTP2_ENHANCE_YOUR_CALM",
    ],
}


@pytest.mark.parametrize(("its_class", "words"), [(its_class, words) for its_class, each in WORDS.items() for words in each])
def test_what_a_provider_says(its_class: str, words: str) -> None:
    found = logs.refusal(words)
    assert found is not None
    assert found.refusal_class == its_class
    again = logs.refusal(" ".join(logs.words(words)))
    assert again is not None, "the recorder keeps words that tell it"
    assert again.refusal_class == its_class


@pytest.mark.parametrize(
    ("words", "passing"),
    [
        (
            "429 RESOURCE_EXHAUSTED. {'message': 'You exceeded your current quota.\\nQuota exceeded for metric: requests, limit: 10\\nPlease retry in 11.2s.'}",
            True,
        ),
        ("429 RESOURCE_EXHAUSTED. {'message': 'You exceeded your current quota', 'details': [{'retryDelay': '11s'}]}", True),
        ("429 RESOURCE_EXHAUSTED. {'quotaId': 'GenerateRequestsPerDayPerProjectPerModel-FreeTier', 'retryDelay': '45s'}", False),
        ("You exceeded your current quota. Please retry in 3600s.", False),
        ("You exceeded your current quota, please check your plan and billing details.", False),
    ],
)
def test_a_quota_that_may_be_over_soon(words: str, passing: bool) -> None:
    found = logs.refusal(words)
    assert found is not None
    assert (found.refusal_class, found.passing) == ("quota", passing)
    again = logs.refusal(" ".join(logs.words(words)))
    assert again is not None, "the recorder keeps words that tell it"
    assert (again.refusal_class, again.passing) == ("quota", passing)


@pytest.mark.parametrize(
    "words",
    [
        "fetch failed",
        "the disk quota is fine",
        "limit: 429 MB",
        "request done in 1302 ms",
        "please slow down, said the user",
        "I am too busy today",
        "the disk is at capacity of 90 %",
        "served 12 requests per second",
        "HTTP 503: <html><title>503 Service Temporarily Unavailable</title></html>",
    ],
)
def test_what_is_no_refusal(words: str) -> None:
    found = logs.refusal(words)
    assert found is None or found.bare


OWN, CLOSED = logs.OWN_LIMIT, logs.UNANSWERED


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ("AuthenticationError: Error code: 401 - Incorrect API key provided: sk-proj-****abcd.", "status 401"),
        ("InternalServerError: 500 The server had an error while processing your request.", "status 500"),
        ("Refused: HTTP 503 from /v1: <title>503 Service Temporarily Unavailable</title>", "status 503"),
        ("ReadTimeout: The read operation timed out", "time-out"),
        ("fetch failed: ECONNRESET", "ECONNRESET"),
        (
            "litellm.RateLimitError: No deployments available for selected model. Passed model=glm. Deployments={'a': {'rpm_limit': 10}}",
            OWN,
        ),
        (
            "litellm.types.router.RouterRateLimitError: No deployments available for selected model, Try again in 5 seconds. cooldown_list=[]",
            OWN,
        ),
        (  # the statuses are those of earlier requests
            "RouterRateLimitError: No deployments available. cooldown_list=[('9f', {'exception_received': 'Error code: 429', 'status_code': '429'})]",
            OWN,
        ),
        # whom they would have asked is not known
        ("io.github.resilience4j.ratelimiter.RequestNotPermitted: RateLimiter 'llm' does not permit further calls", None),
        ("io.github.resilience4j.bulkhead.BulkheadFullException: Bulkhead 'llm' is full and does not permit further calls", None),
        (
            "Polly.RateLimiting.RateLimiterRejectedException: The operation could not be executed because it was rejected by the rate limiter.",
            None,
        ),
        ("p-throttle local rate limit reached, waiting 200 ms", None),
        ("Error code: 503 - No deployments available for selected model", "status 503"),
        ("Exporting failed. Dropping data. HTTP Status Code 503, Message=Service Unavailable", None),
        ("org.apache.hc.core5.http.NoHttpResponseException: api.z.ai:443 failed to respond", CLOSED),
        ("httpx.RemoteProtocolError: Server disconnected without sending a response.", CLOSED),
        ("aiohttp.client_exceptions.ServerDisconnectedError: Server disconnected", CLOSED),
        ("ConnectionError: ('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))", CLOSED),
        ("SocketError: other side closed", CLOSED),
        ("AI_APICallError: Cannot connect to API: other side closed", CLOSED),
        ("curl: (52) Empty reply from server", CLOSED),
        ('Post "https://api.z.ai/v1/chat/completions": EOF', CLOSED),
        ("java.io.IOException: HTTP/1.1 header parser received no bytes", CLOSED),
        ("Error: socket hang up { code: 'ECONNRESET' }", "ECONNRESET"),
        ("httpx.RemoteProtocolError: peer closed connection without sending complete message body (incomplete chunked read)", None),
        ("server disconnected the user after 5 s", None),
        ("Error code: 429 - {'error': {'message': 'No deployments available for selected model'}}", None),
        ("Error code: 429 - Rate limit reached for requests", None),
        ("AbortError: the user stopped it", None),
        ("wrote 500 lines in 404 files", None),
    ],
)
def test_how_a_request_failed_that_no_limit_refused(words: str, how: str | None) -> None:
    assert logs.failure(words) == how
    assert how is None or logs.failure(" ".join(logs.words(words))) == how, "the recorder keeps words that tell it"


@pytest.mark.parametrize(
    "said",
    [
        "indexed 429 files in 1.2 s",
        "cache hit ratio 0.529, 1302 entries",
        "agent-1  | INFO:agent:indexed 429 files in 1.2 s",
        "workers=429",
        "done: 529 of 1302 rows",
        "429 files indexed",
    ],
)
def test_a_number_that_counts_things_is_no_refusal_where_no_level_says_fault(said: str) -> None:
    assert logs.refusal(said, fault=False) is None
    assert logs.refusal(said) is not None


@pytest.mark.parametrize(
    "said",
    [
        "429",
        "HTTP 429.",
        "429 Too Many Requests",
        "chat failed (429)",
        "POST /v1/chat/completions 429 12ms",
        "<- 429 from api.z.ai",
        "got 429, waiting",
        "api.z.ai answered with 429",
        "status=429",
        '{"error":{"code":"1302"}}',
        "request 7 was refused: 1302",
        "chat 429",
    ],
)
def test_a_number_where_codes_stand_is_a_refusal_without_a_level(said: str) -> None:
    assert logs.refusal(said, fault=False) is not None


COUNTS = [
    "config: retry_on=[429, 503, 529] max_retries=5",
    "Retry(total=3, status_forcelist=(408, 429, 500, 502, 503, 504))",
    "status 400 is none of 429,503",
    'llm_errors_total{status="429"}=0 llm_errors_total{status="503"}=0',
    'http_responses_total{code="429",method="post"} 17',
    "user asked: why do I get 'Too many concurrent requests' and 429?",
    "agent: the user's question was: what does error code 1302 mean",
    "GET /dashboard/429 200 1302 bytes 12 ms",
]


@pytest.mark.parametrize("said", COUNTS)
@pytest.mark.parametrize("fault", [True, False])
def test_lists_counts_and_paths_tell_of_no_refusal(said: str, fault: bool) -> None:
    assert logs.refusal(said, fault=fault) is None
    assert not any("429" in word or "1302" in word for word in logs.words(said))


@pytest.mark.parametrize(
    "said",
    [
        "failed after 3 tries: 429, 429, 503",
        "gave up: 503, 429",
        "status 429 for what the user asked: tell me a joke",
        "user message could not be sent, too many requests",
        "user says nothing; request failed: 429",
        'APIError{status: 429, message: "x"} 3',
        "POST /v1/chat/completions 429 133",
        "POST /v1/429/chat failed with status 429",
        'upstream {"error":{"code":"1302"}} 3',
    ],
)
def test_tries_that_failed_are_no_list(said: str) -> None:
    assert logs.refusal(said) is not None
