"""The official clients of OpenAI and Anthropic through the gateway: `clients.py URL`.

acme's key is good, globex is suspended, and nobody has the third key.
"""
import sys

import anthropic
import openai

URL = sys.argv[1]
MESSAGES = [{"role": "user", "content": "How are you?"}]
GOOD, SUSPENDED, FORGED = "sk_weir_acme", "sk_weir_globex", "sk_weir_nobody"


def openai_of(key):
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)


def anthropic_of(key):
    return anthropic.Anthropic(base_url=URL, api_key=key, max_retries=0)


def chat(key, **more):
    return openai_of(key).chat.completions.create(model="gpt-4o", messages=MESSAGES, **more)


def message(key, **more):
    return anthropic_of(key).messages.create(model="claude-sonnet-4-5", max_tokens=64, messages=MESSAGES, **more)


def raises(kind, call):
    try:
        call()
    except kind as error:
        assert str(error), "an error without a message"
        return error
    raise AssertionError(f"expected {kind.__name__}")


answer = chat(GOOD)
assert answer.choices[0].message.content and answer.usage.total_tokens > 0, answer

chunks = list(chat(GOOD, stream=True, stream_options={"include_usage": True}))
assert any(chunk.choices and chunk.choices[0].delta.content for chunk in chunks), chunks
assert chunks[-1].usage.total_tokens > 0, chunks[-1]

error = raises(openai.AuthenticationError, lambda: chat(FORGED))
assert (error.status_code, error.code) == (401, "invalid_api_key"), error
raises(openai.PermissionDeniedError, lambda: chat(SUSPENDED))
raises(openai.PermissionDeniedError, lambda: openai_of(GOOD).files.list())

answer = message(GOOD)
assert answer.content[0].text and answer.usage.output_tokens > 0, answer

with anthropic_of(GOOD).messages.stream(model="claude-sonnet-4-5", max_tokens=64, messages=MESSAGES) as stream:
    assert "".join(stream.text_stream)
    assert stream.get_final_message().usage.output_tokens > 0

error = raises(anthropic.AuthenticationError, lambda: message(FORGED))
assert error.body["error"]["type"] == "authentication_error", error.body
raises(anthropic.PermissionDeniedError, lambda: message(SUSPENDED))
print("good")
