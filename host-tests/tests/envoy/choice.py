"""The official clients over a chain of two providers of different dialects: `choice.py URL`.

Each asks for `auto`, validates what it gets strictly by its own types, and never learns who served.
"""
import json
import sys

import anthropic
import openai

URL = sys.argv[1]
KEY = "sk_weir_acme"
MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

o = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True)
a = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, _strict_response_validation=True)


def chat(**more):
    return o.chat.completions.create(model="auto", messages=more.pop("messages", MESSAGES), **more)


def message(**more):
    return a.messages.create(model="auto", max_tokens=64, messages=more.pop("messages", MESSAGES), **more)


def openai_whole():
    answer = chat()
    assert answer.choices[0].message.content == "Hello there.", answer
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (21, 13), answer.usage


def openai_streamed():
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello there.", chunks
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (21, 13), chunks[-1]


def openai_tools():
    tools = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    first = chat(tools=tools).choices[0]
    call = first.message.tool_calls[0]
    assert first.finish_reason == "tool_calls" and json.loads(call.function.arguments) == {"city": "Paris"}, first
    turn = {"role": "assistant", "content": None, "tool_calls": [{"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}}]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
    assert chat(tools=tools, messages=[*MESSAGES, turn, result]).choices[0].message.content == "Hello there."
    parts = [c.choices[0].delta.tool_calls[0] for c in chat(tools=tools, stream=True) if c.choices and c.choices[0].delta.tool_calls]
    assert json.loads("".join(p.function.arguments or "" for p in parts)) == {"city": "Paris"}, parts


def anthropic_whole():
    answer = message()
    assert answer.content[0].text == "Hello there.", answer
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (21, 13), answer.usage


def anthropic_streamed():
    with a.messages.stream(model="auto", max_tokens=64, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == "Hello there."
        usage = stream.get_final_message().usage
    assert usage.output_tokens == 13, usage


def anthropic_tools():
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    first = message(tools=tools)
    call = first.content[0]
    assert first.stop_reason == "tool_use" and call.input == {"city": "Paris"}, first
    turn = {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": "weather", "input": call.input}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}]}
    assert message(tools=tools, messages=[*MESSAGES, turn, result]).content[0].text == "Hello there."
    with a.messages.stream(model="auto", max_tokens=64, messages=MESSAGES, tools=tools) as stream:
        assert stream.get_final_message().content[0].input == {"city": "Paris"}


for case in (openai_whole, openai_streamed, openai_tools, anthropic_whole, anthropic_streamed, anthropic_tools):
    try:
        case()
    except Exception as error:
        raise AssertionError(case.__name__) from error
