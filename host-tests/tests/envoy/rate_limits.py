"""The official clients of OpenAI and Anthropic at their limit: `rate_limits.py URL`.

acme and globex may send one request every four seconds each. Nobody else is there, so that a client that waits as it is
told gets through.
"""
import sys
import threading

import anthropic
import openai

URL = sys.argv[1]
MESSAGES = [{"role": "user", "content": "How are you?"}]
ATTEMPTS = 20


def raises(kind, call):
    """Calls until it is refused: a slow machine may take longer than the limit asks for."""
    for _ in range(ATTEMPTS):
        try:
            call()
        except kind as error:
            return error
    raise AssertionError(f"never a {kind.__name__}")


def retries(call):
    """Calls until the client had to try again by itself, and got through."""
    for _ in range(ATTEMPTS):
        raw = call()
        if raw.retries_taken > 0:
            return raw.parse()
    raise AssertionError("never refused")


def with_openai():
    def client(**more):
        return openai.OpenAI(base_url=f"{URL}/v1", api_key="sk_weir_acme", **more)

    def chat(completions):
        return completions.create(model="gpt-4o", messages=MESSAGES)

    impatient = client(max_retries=0).chat.completions
    error = raises(openai.RateLimitError, lambda: chat(impatient))
    assert (error.status_code, error.code, error.type) == (429, "rate_limit_exceeded", "requests"), error
    assert 1 <= int(error.response.headers["retry-after"]) <= 4, error.response.headers
    answer = retries(lambda: chat(client().chat.completions.with_raw_response))
    assert answer.choices[0].message.content, answer


def with_anthropic():
    def client(**more):
        return anthropic.Anthropic(base_url=URL, api_key="sk_weir_globex", **more)

    def message(messages):
        return messages.create(model="claude-sonnet-4-5", max_tokens=64, messages=MESSAGES)

    impatient = client(max_retries=0).messages
    error = raises(anthropic.RateLimitError, lambda: message(impatient))
    assert (error.status_code, error.body["error"]["type"]) == (429, "rate_limit_error"), error
    assert 1 <= int(error.response.headers["retry-after"]) <= 4, error.response.headers
    answer = retries(lambda: message(client().messages.with_raw_response))
    assert answer.content[0].text, answer


failures = []


def run(test):
    try:
        test()
    except BaseException as error:  # noqa: B036 (a thread's failure is the program's)
        failures.append(f"{test.__name__}: {error!r}")


threads = [threading.Thread(target=run, args=(test,)) for test in (with_openai, with_anthropic)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    sys.exit("\n".join(failures))
print("good")
