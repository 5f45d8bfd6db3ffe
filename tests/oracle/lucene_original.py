"""Analyses texts and ranks documents with the Lucene of pyserini; run by the interpreter that has it (see README).

    python lucene_original.py ASKED.json ANSWER.json

ASKED: `{"texts": [...], "documents": [[key, text], ...], "queries": [...], "limit"}`.
ANSWER: `{"terms": [[...], ...], "hits": [[key, ...], ...]}`, one list a text and one a query.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

INDEXER = (
    *("-m", "pyserini.index.lucene", "--collection", "JsonCollection", "--threads", "1"),
    *("--generator", "DefaultLuceneDocumentGenerator", "--storePositions", "--storeDocvectors", "--storeRaw"),
)


def build_index(documents, folder):
    """Index `documents` below `folder` as the original's scripts do. Returns the index's folder."""
    (folder / "in").mkdir()
    with (folder / "in" / "documents.jsonl").open("w") as file:
        for document in documents:
            file.write(json.dumps(document) + "\n")
    command = [sys.executable, *INDEXER, "--input", str(folder / "in"), "--index", str(folder / "index")]
    subprocess.run(command, check=True, capture_output=True)
    return str(folder / "index")


def main(asked_file, answer_file):
    from pyserini.analysis import Analyzer, get_lucene_analyzer
    from pyserini.search.lucene import LuceneSearcher

    asked = json.loads(Path(asked_file).read_text())
    analyzer = Analyzer(get_lucene_analyzer())
    with tempfile.TemporaryDirectory() as folder:
        index = build_index(({"id": key, "contents": text} for key, text in asked["documents"]), Path(folder))
        searcher = LuceneSearcher(index)
        hits = [[hit.docid for hit in searcher.search(query, k=asked["limit"])] for query in asked["queries"]]
    terms = [list(analyzer.analyze(text)) for text in asked["texts"]]
    Path(answer_file).write_text(json.dumps({"terms": terms, "hits": hits}))


if __name__ == "__main__":
    main(*sys.argv[1:])
