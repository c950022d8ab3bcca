"""What was found, for people and programs. It draws, words and writes; it computes no finding.

``answer`` has the words of the answer and ``scene`` what is drawn over time; the terminal (``text``), the page (``html``, with ``page_data``), the pictures
(``plots``, one figure a file) and the letter to the provider (``letter``, packed by ``bundle``) take both from there. ``exports`` writes tables, one
format a file; ``extract`` copies frames. Input and output: it writes files, through ``netlens.outputs`` only.
"""
