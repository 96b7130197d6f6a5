"""ChromaDB for a test: fill DIRECTORY | write DIRECTORY | counts DIRECTORY."""

import json
import random
import sys
import time

import chromadb

client = chromadb.PersistentClient(path=sys.argv[2])
DIMENSIONS = 8


def collection(name):
    metadata = {"hnsw:sync_threshold": 50, "hnsw:batch_size": 10}
    return client.get_or_create_collection(name, metadata=metadata, embedding_function=None)


def vectors(count):
    return [[random.random() for _ in range(DIMENSIONS)] for _ in range(count)]


def add(to, first, count):
    ids = [f"id-{n}" for n in range(first, first + count)]
    to.add(ids=ids, embeddings=vectors(count), documents=[f"confidential text {n}" for n in ids])


if sys.argv[1] == "fill":
    add(collection("documents"), 0, 400)
    add(collection("pictures"), 0, 30)
elif sys.argv[1] == "write":
    # Indexes are written every few seconds, and SQLite all the time, until standard input ends.
    import threading

    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    documents, first = collection("documents"), 10_000
    while not over.is_set():
        add(documents, first, 5)
        first += 5
        if first == 10_005:
            print("writing", flush=True)
        time.sleep(0.15)
    print(first, flush=True)
elif sys.argv[1] == "counts":
    found = {}
    for name in ["documents", "pictures"]:
        of = collection(name)
        ids = of.query(query_embeddings=vectors(1), n_results=of.count(), include=[])["ids"][0]
        found[name] = {"count": of.count(), "found": len(ids), "vectors": len(of.get(include=["embeddings"])["embeddings"])}
    print(json.dumps(found))
