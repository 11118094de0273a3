"""The official clients of OpenAI and Anthropic as two tenants of one account at the provider: `sealed.py URL`.

Each tenant uploads, lists, uses, chains and deletes; nothing of the other's is there for it.
"""
import sys

import anthropic
import openai

URL = sys.argv[1]
ACME, GLOBEX = "sk_weir_acme", "sk_weir_globex"


def openai_of(key):
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)


def anthropic_of(key):
    return anthropic.Anthropic(base_url=f"{URL}/anthropic", auth_token=key, api_key=None, max_retries=0)


acme, globex = openai_of(ACME), openai_of(GLOBEX)
claude_acme, claude_globex = anthropic_of(ACME), anthropic_of(GLOBEX)


def missing(call, kind=openai.NotFoundError):
    try:
        found = call()
    except kind as error:
        assert error.status_code == 404, error
        return
    raise AssertionError(f"another tenant's object is there: {found}")


def ids(page):
    return [entry.id for entry in page]


def tampered(text):
    return text[:-1] + ("b" if text[-1] != "b" else "c")


# Files: uploaded by both in turns, listed, read, deleted.
files = {client: [] for client in (acme, globex)}
for number in range(5):
    for client, name in ((acme, "a"), (globex, "g")):
        made = client.files.create(file=(f"{name}{number}.txt", b"content of " + name.encode()), purpose="assistants")
        assert made.filename == f"{name}{number}.txt", made
        files[client].append(made.id)
for client in (acme, globex):
    assert ids(client.files.list()) == files[client][::-1]
    assert ids(client.files.list(limit=2)) == files[client][::-1], "page by page"
    assert [entry.filename[0] for entry in client.files.list()] == ["a" if client is acme else "g"] * 5
own, foreign = files[acme][0], files[globex][0]
assert acme.files.content(own).read() == b"content of a"
assert acme.files.retrieve(own).id == own
for wrong in (foreign, tampered(own), own[:-3], "file-000000000001", own + "a", own.replace("file-", "vs_")):
    missing(lambda: acme.files.retrieve(wrong))
    missing(lambda: acme.files.content(wrong))
    missing(lambda: acme.files.delete(wrong))
    missing(lambda: acme.batches.create(input_file_id=wrong, endpoint="/v1/responses", completion_window="24h"))
    missing(lambda: acme.vector_stores.create(name="x", file_ids=[own, wrong]))
    missing(lambda: acme.responses.create(model="m", input=[{"role": "user", "content": [{"type": "input_file", "file_id": wrong}]}]))
assert acme.files.delete(own).id == own
assert ids(acme.files.list()) == files[acme][:0:-1]

# Answers: chained, whole and as a stream.
first = acme.responses.create(model="m", input="one")
second = acme.responses.create(model="m", input="two", previous_response_id=first.id)
assert second.previous_response_id == first.id, second
events = list(acme.responses.create(model="m", input="three", previous_response_id=second.id, stream=True))
last = events[-1].response
assert last.id != second.id and last.previous_response_id == second.id, last
assert acme.responses.retrieve(last.id).id == last.id
missing(lambda: globex.responses.retrieve(first.id))
missing(lambda: globex.responses.create(model="m", input="x", previous_response_id=first.id))
missing(lambda: globex.responses.create(model="m", input=[{"type": "item_reference", "id": last.output[0].id}]))
missing(lambda: globex.responses.delete(first.id))
acme.responses.delete(first.id)

# Batches and vector stores: the lists are told apart, though other tenants' entries fill whole pages of the provider's.
batches = {client: [] for client in (acme, globex)}
for client, count in ((acme, 3), (globex, 230), (acme, 2)):
    for _ in range(count):
        made = client.batches.create(input_file_id=files[client][-1], endpoint="/v1/responses", completion_window="24h", metadata={"k": "v"})
        assert made.metadata["k"] == "v" and made.input_file_id == files[client][-1], made
        batches[client].append(made.id)
assert ids(acme.batches.list(limit=2)) == batches[acme][::-1], "past two pages of another tenant's"
assert ids(globex.batches.list()) == batches[globex][::-1]
missing(lambda: globex.batches.cancel(batches[acme][0]))
store = acme.vector_stores.create(name="s", file_ids=[files[acme][1]])
acme.vector_stores.files.create(store.id, file_id=files[acme][2])
assert ids(acme.vector_stores.files.list(store.id)) == [files[acme][2]]
assert ids(acme.vector_stores.list()) == [store.id] and ids(globex.vector_stores.list()) == []
missing(lambda: globex.vector_stores.files.list(store.id))
missing(lambda: globex.vector_stores.files.create(store.id, file_id=files[globex][0]))
missing(lambda: globex.responses.create(model="m", input="x", tools=[{"type": "file_search", "vector_store_ids": [store.id]}]))

# Threads and their messages.
thread = acme.beta.threads.create()
message = acme.beta.threads.messages.create(thread.id, role="user", content="hello", attachments=[{"file_id": files[acme][1], "tools": []}])
assert message.thread_id == thread.id and message.attachments[0].file_id == files[acme][1], message
assert ids(acme.beta.threads.messages.list(thread.id)) == [message.id]
missing(lambda: globex.beta.threads.messages.list(thread.id))
missing(lambda: globex.beta.threads.messages.create(thread.id, role="user", content="x"))

# Anthropic: files and batches.
claude_files = {client: [] for client in (claude_acme, claude_globex)}
for number in range(3):
    for client in claude_files:
        claude_files[client].append(client.beta.files.upload(file=(f"{number}.txt", b"text", "text/plain")).id)
for client in claude_files:
    assert ids(client.beta.files.list(limit=2)) == claude_files[client][::-1]
theirs = claude_files[claude_globex][0]
missing(lambda: claude_acme.beta.files.retrieve_metadata(theirs), anthropic.NotFoundError)
missing(lambda: claude_acme.beta.files.delete(theirs), anthropic.NotFoundError)
batch = claude_acme.messages.batches.create(requests=[{"custom_id": "1", "params": {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}}])
assert claude_acme.messages.batches.retrieve(batch.id).id == batch.id
assert len(list(claude_acme.messages.batches.results(batch.id))) == 1
missing(lambda: claude_globex.messages.batches.retrieve(batch.id), anthropic.NotFoundError)
missing(lambda: claude_globex.messages.batches.results(batch.id), anthropic.NotFoundError)
print("apart")
