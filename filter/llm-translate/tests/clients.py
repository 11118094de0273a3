"""The official clients of OpenAI and Anthropic, each over a provider of the other dialect: `clients.py URL`.

Each client validates what it gets strictly by its own types, and each translated request is validated by the types that
the other client has for its parameters.
"""
import json
import sys
import typing
import urllib.request

import anthropic
import openai
import pydantic
from anthropic.types import message_create_params
from openai.types.chat import completion_create_params

URL = sys.argv[1]
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
PARAMETERS = {
    "messages": [pydantic.TypeAdapter(message_create_params.MessageCreateParamsNonStreaming), pydantic.TypeAdapter(message_create_params.MessageCreateParamsStreaming)],
    "chat": [pydantic.TypeAdapter(completion_create_params.CompletionCreateParamsNonStreaming), pydantic.TypeAdapter(completion_create_params.CompletionCreateParamsStreaming)],
}

o = openai.OpenAI(base_url=f"{URL}/v1", api_key="k", max_retries=0, _strict_response_validation=True)
a = anthropic.Anthropic(base_url=URL, api_key="k", max_retries=0, _strict_response_validation=True)


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, data=data)) as answer:
        return json.loads(answer.read())


def upstream(body, status=200, headers=JSON):
    call("/upstream", {"status": status, "headers": headers, "body": body if isinstance(body, str) else json.dumps(body)})


def extras(adapter_type, value, place=""):
    """Members that the type does not know, where it is a typed dictionary."""
    origin = typing.get_origin(adapter_type)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated):
        return extras(typing.get_args(adapter_type)[0], value, place)
    if typing.is_typeddict(adapter_type) and isinstance(value, dict):
        known = typing.get_type_hints(adapter_type)
        found = [f"{place}.{name}" for name in value if name not in known]
        return found + [more for name in value if name in known for more in extras(known[name], value[name], f"{place}.{name}")]
    return []


def seen(dialect):
    """The last translated request, which the other client's types must accept."""
    body = call("/seen")
    assert isinstance(body, dict), body
    streams = bool(body.get("stream"))
    # Iterables are validated as they are read, so that all of it has to be turned into Python again.
    adapter = PARAMETERS[dialect][streams]
    checked = adapter.dump_python(adapter.validate_python(body), warnings=False)
    for message in list(checked["messages"]):
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            list(content)
    unknown = extras(adapter._type, body)
    assert not unknown, unknown
    return body


def sse(events):
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def chunks(deltas, finish, usage):
    def chunk(choices, **more):
        return "data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": choices, **more}) + "\n\n"
    body = "".join(chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas)
    return body + chunk([{"index": 0, "delta": {}, "finish_reason": finish}]) + chunk([], usage=usage) + "data: [DONE]\n\n"


def message(content, reason="end_turn"):
    usage = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 5}
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}


def completion(said, finish="stop"):
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt", "usage": usage,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "refusal": None, **said}, "finish_reason": finish, "logprobs": None}]}


def message_events(blocks, reason="end_turn"):
    usage = {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1}
    events = [{"type": "message_start", "message": {**message([], None), "usage": usage}}, {"type": "ping"}]
    for index, (start, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 5}}
    return sse([*events, end, {"type": "message_stop"}])


def raises(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def with_openai():
    tool = {"type": "function", "function": {"name": "weather", "description": "w", "parameters": SCHEMA, "strict": True}}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    start = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Where?"}, picture]}]

    # Two tools at once, their results in the next turn, whole.
    upstream(message([{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "I look."},
                      {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
                      {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Rom"}}], "tool_use"))
    answer = o.chat.completions.create(model="auto", messages=start, tools=[tool], tool_choice="required", max_completion_tokens=99, reasoning_effort="low")
    said = answer.choices[0].message
    assert (answer.choices[0].finish_reason, said.content, len(said.tool_calls)) == ("tool_calls", "I look.", 2), answer
    assert json.loads(said.tool_calls[1].function.arguments) == {"city": "Rom"}
    assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens, answer.usage.total_tokens) == (7, 4, 12)
    assert seen("messages")["tool_choice"] == {"type": "any"}
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in said.tool_calls]
    upstream(message([{"type": "text", "text": "Sun."}]))
    answer = o.chat.completions.create(model="auto", messages=[*start, said.model_dump(exclude_none=True), *results], tools=[tool])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Sun.", "stop")
    assert [turn["role"] for turn in seen("messages")["messages"]] == ["user", "assistant", "user"]

    # The same, streamed, with the accumulating helper.
    blocks = [({"type": "text", "text": ""}, [{"type": "text_delta", "text": "I "}, {"type": "text_delta", "text": "look."}]),
              ({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
               [{"type": "input_json_delta", "partial_json": ""}, {"type": "input_json_delta", "partial_json": "{\"city\":"}, {"type": "input_json_delta", "partial_json": "\"Bern\"}"}])]
    upstream(message_events(blocks, "tool_use"), headers=EVENTS)
    with o.chat.completions.stream(model="auto", messages=start, tools=[tool], stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        whole = stream.get_final_completion()
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("I look.", "tool_calls"), whole
    assert json.loads(whole.choices[0].message.tool_calls[0].function.arguments) == {"city": "Bern"}
    assert whole.usage.total_tokens == 12
    assert seen("messages")["stream"] is True
    upstream(message_events(blocks[:1]), headers=EVENTS)
    found = list(o.chat.completions.create(model="auto", messages=start, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in found) == "I look." and found[-1].choices[0].finish_reason == "stop"

    # A schema, JSON without one, a refusal.
    upstream(message([{"type": "text", "text": "{\"city\": \"Bern\"}"}]))
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    assert json.loads(o.chat.completions.create(model="auto", messages=start, response_format=form).choices[0].message.content)["city"] == "Bern"
    assert seen("messages")["output_config"]["format"]["schema"] == SCHEMA
    upstream(message([{"type": "tool_use", "id": "t", "name": "answer_in_json", "input": {"city": "Bern"}}], "tool_use"))
    answer = o.chat.completions.create(model="auto", messages=start, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {"city": "Bern"} and answer.choices[0].finish_reason == "stop"
    seen("messages")
    upstream({**message([], "refusal"), "stop_details": {"type": "refusal", "category": "cyber", "explanation": "No."}})
    answer = o.chat.completions.create(model="auto", messages=start)
    assert (answer.choices[0].message.refusal, answer.choices[0].finish_reason) == ("No.", "content_filter")

    # Errors, whole and in the middle of a stream, and a stream that is cut.
    for status, name, kind in [(429, "rate_limit_error", openai.RateLimitError), (400, "invalid_request_error", openai.BadRequestError), (401, "authentication_error", openai.AuthenticationError),
                               (404, "not_found_error", openai.NotFoundError), (529, "overloaded_error", openai.InternalServerError)]:
        upstream({"type": "error", "error": {"type": name, "message": "Not now"}, "request_id": "r"}, status, {**JSON, "request-id": "req_9", "anthropic-ratelimit-requests-remaining": "0"})
        error = raises(kind, lambda: o.chat.completions.create(model="auto", messages=start))
        assert "Not now" in str(error) and error.request_id == "req_9" and error.response.headers["x-ratelimit-remaining-requests"] == "0", error
    for tail in [sse([{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}]), ""]:
        upstream(message_events(blocks[:1]).split("event: content_block_stop")[0] + tail, headers=EVENTS)
        error = raises(openai.APIError, lambda: list(o.chat.completions.create(model="auto", messages=start, stream=True)))
        assert ("Overloaded" if tail else "before it was complete") in str(error), error


def with_anthropic():
    tool = {"name": "weather", "description": "w", "input_schema": SCHEMA}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
    start = [{"role": "user", "content": [{"type": "text", "text": "Where?"}, picture]}]
    common = {"model": "auto", "max_tokens": 99, "tools": [tool], "system": "Be brief."}

    calls = [{"id": f"call_{at}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}} for at, city in enumerate(["Bern", "Rom"])]
    upstream(completion({"content": "I look.", "tool_calls": calls, "reasoning_content": "Hm."}, "tool_calls"))
    answer = a.messages.create(**common, messages=start, tool_choice={"type": "any"}, thinking={"type": "adaptive"})
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use", "tool_use"] and answer.stop_reason == "tool_use", answer
    assert answer.content[3].input == {"city": "Rom"}
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens, answer.usage.output_tokens_details.thinking_tokens) == (3, 4, 5, 2)
    assert seen("chat")["tool_choice"] == "required"
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "sun"}, picture]} for block in answer.content[2:]]
    upstream(completion({"content": "Sun."}))
    turns = [*start, {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]}, {"role": "user", "content": results}]
    answer = a.messages.create(**common, messages=turns)
    assert (answer.content[0].text, answer.stop_reason) == ("Sun.", "end_turn")
    assert [turn["role"] for turn in seen("chat")["messages"]] == ["system", "user", "assistant", "tool", "tool", "user"]

    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": "Hm."}, {"content": "I "}, {"content": "look."},
              {"tool_calls": [{"index": 0, "id": "call_0", "type": "function", "function": {"name": "weather", "arguments": ""}}]},
              {"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]}, {"tool_calls": [{"index": 0, "function": {"arguments": "\"Bern\"}"}}]},
              {"tool_calls": [{"index": 1, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rom\"}"}}]}]
    usage = completion({})["usage"]
    upstream(chunks(deltas, "tool_calls", usage), headers=EVENTS)
    with a.messages.stream(**common, messages=start, thinking={"type": "adaptive"}) as stream:
        for _ in stream:
            pass
        whole = stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"] and whole.stop_reason == "tool_use", whole
    assert (whole.content[1].text, whole.content[2].input, whole.content[3].input) == ("I look.", {"city": "Bern"}, {"city": "Rom"})
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (3, 5), whole.usage
    assert seen("chat")["stream_options"]["include_usage"] is True
    upstream(chunks(deltas[:4], "length", usage), headers=EVENTS)
    found = list(a.messages.create(**common, messages=start, stream=True))
    assert found[-1].type == "message_stop" and found[-2].delta.stop_reason == "max_tokens", found

    upstream(completion({"content": "{\"city\":\"Bern\"}"}))
    a.messages.create(model="auto", max_tokens=9, messages=start, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert seen("chat")["response_format"]["json_schema"]["schema"] == SCHEMA
    upstream(completion({"refusal": "No."}))
    answer = a.messages.create(model="auto", max_tokens=9, messages=start)
    assert (answer.content[0].text, answer.stop_reason) == ("No.", "refusal")

    for status, code, kind in [(429, "rate_limit_exceeded", anthropic.RateLimitError), (400, None, anthropic.BadRequestError), (401, "invalid_api_key", anthropic.AuthenticationError),
                               (404, "model_not_found", anthropic.NotFoundError), (503, None, anthropic.InternalServerError)]:
        upstream({"error": {"message": "Not now", "type": "t", "param": None, "code": code}}, status, {**JSON, "x-request-id": "req_9", "x-ratelimit-remaining-requests": "0"})
        error = raises(kind, lambda: a.messages.create(**common, messages=start))
        assert error.body["error"]["message"] == "Not now" and error.request_id == "req_9", error.body
        assert error.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
    body = chunks(deltas[:4], "stop", usage).split("data: ")
    for tail in ["data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"server_error\",\"code\":null}}\n\n", ""]:
        upstream("data: ".join(body[:4]) + tail, headers=EVENTS)
        error = raises(anthropic.APIError, lambda: list(a.messages.create(**common, messages=start, stream=True)))
        assert ("Overloaded" if tail else "before it was complete") in str(error), error


with_openai()
with_anthropic()
print("good")
