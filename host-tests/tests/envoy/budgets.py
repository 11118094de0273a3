"""The official clients of OpenAI and Anthropic on one budget: `budgets.py URL spend`, `budgets.py URL again`.

`spend` asks for the premium model by both APIs, whole and streamed in turn, until both clients raise their error for a used-up budget. `again`
asks once by each. Prints a line of JSON for each answer.
"""
import json
import sys
import time

import anthropic
import openai

URL, WHAT = sys.argv[1:]
MESSAGES = [{"role": "user", "content": "How are you?"}]
# More than the budget has: the test fails, instead of running on.
ATTEMPTS = 200
# The least time in which an event can be counted and told; a burst would only test what is in flight.
PAUSE_SECS = 0.25

of_openai = openai.OpenAI(base_url=f"{URL}/v1", api_key="sk_weir_acme", max_retries=0)
of_anthropic = anthropic.Anthropic(base_url=URL, api_key="sk_weir_acme", max_retries=0)


def chat(stream):
    create = of_openai.chat.completions.create
    if not stream:
        answer = create(model="premium", messages=MESSAGES)
        return answer.model, answer.usage.prompt_tokens, answer.usage.completion_tokens
    chunks = list(create(model="premium", messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
    usage = chunks[-1].usage
    return chunks[-1].model, usage.prompt_tokens, usage.completion_tokens


def message(stream):
    asked = {"model": "premium", "max_tokens": 64, "messages": MESSAGES}
    if stream:
        with of_anthropic.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = of_anthropic.messages.create(**asked)
    usage = answer.usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return answer.model, read, usage.output_tokens


def send(number):
    api = (chat, message)[number % 2]
    model, read, written = api(stream=number % 4 > 1)
    print(json.dumps({"model": model, "input": read, "output": written}))


def refused(error):
    """Checks what a client makes of a used-up budget, and returns which client it was."""
    assert error.status_code == 402, error
    assert int(error.response.headers["retry-after"]) > 0, error.response.headers
    if isinstance(error, openai.APIStatusError):
        assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota"), error.body
        return "openai"
    assert error.body["error"]["type"] == "billing_error", error.body
    return "anthropic"


def spend():
    seen = set()
    for number in range(ATTEMPTS):
        try:
            send(number)
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            seen.add(refused(error))
            if len(seen) == 2:
                return
        time.sleep(PAUSE_SECS)
    raise AssertionError(f"only refused for {seen}")


if WHAT == "spend":
    spend()
else:
    send(0)
    send(1)
