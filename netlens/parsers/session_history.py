"""The history of a session: one letter for what each side did, in order, as Zeek writes it.

Capital letters are the originator's, small ones the responder's; ``^`` says that the roles were told from ports. A thing that goes on (data, say) has one
letter; retransmissions and zero windows have one more for each power of ten. Letters are five bits each, in four numbers of the session state.
"""

import numpy as np

from netlens.columnar import Coded
from netlens.columns import Array
from netlens.parsers.session_state import HISTORY, HISTORY_1, HISTORY_2, HISTORY_3, HISTORY_COUNT, HISTORY_SEEN
from netlens.wire.addresses import distinct
from netlens.wire.compiled import lean

#: By code: ``^``, then what a side did, the originator's letter and the responder's.
LETTERS = "^SsHhAaDdFfRrTtWwGgIiQq"
FLIP = 0
#: Codes of the originator's letters; the responder's are one higher. INCONSISTENT: FIN with RST. MULTI_FLAG: SYN with one of them. (Zeek's names)
SYN, SYNACK, ACK, DATA, FIN, RST, RETRANSMIT, ZERO_WINDOW, GAP, INCONSISTENT, MULTI_FLAG = range(1, 23, 2)
LETTERS_PER_WORD, MAX_LETTERS = 12, 48


@lean
def add(s, code):
    n = s[HISTORY_COUNT]
    s[HISTORY_COUNT] = n + 1
    if n < MAX_LETTERS:
        s[HISTORY + n // LETTERS_PER_WORD] |= np.int64(code) << (5 * (n % LETTERS_PER_WORD))


@lean
def add_once(s, code):
    bit = np.int64(1) << code
    if not s[HISTORY_SEEN] & bit:
        s[HISTORY_SEEN] |= bit
        add(s, code)


def column(s: Array) -> Coded:
    """History strings; equal ones are made once (captures have few different ones)."""
    if not len(s):
        return Coded(np.empty(0, np.int64), np.empty(0, dtype=object))
    back, first = distinct(s[:, HISTORY], s[:, HISTORY_1], s[:, HISTORY_2])
    if s[:, HISTORY_3].any():
        back, first = distinct(back, s[:, HISTORY_3], np.zeros(len(s), np.int64))
    words = s[first, HISTORY : HISTORY + 4]
    longest = np.zeros(len(words), np.int64)
    np.maximum.at(longest, back, np.minimum(s[:, HISTORY_COUNT], MAX_LETTERS))
    texts = np.empty(len(words), dtype=object)
    for i, word in enumerate(words.tolist()):
        letters = [(word[k // LETTERS_PER_WORD] >> (5 * (k % LETTERS_PER_WORD))) & 31 for k in range(longest[i])]
        texts[i] = "".join(LETTERS[code] for code in letters)
    return Coded(back, texts)
