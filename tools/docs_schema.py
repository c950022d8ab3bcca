"""The JSON schema of ``netlens analyze --format json``. Words that come from the code (causes, rules, fixes) are taken from it.

The published schema allows fields that it does not name, because later versions may add some and none will be renamed. The tests close it
(``closed``), so that no field goes undescribed.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def build() -> Schema:
    from netlens.chains.paths import KINDS
    from netlens.lenses import SEVERITIES, all_lenses
    from netlens.lenses.refused import causes, fixes, odds
    from netlens.lenses.refused.counting import ADDRESS_RULES, RULES, SCOPES, UNITS
    from netlens.logs import CLASSES

    kinds = "|".join(KINDS)
    ids = [cause.ID for cause in causes.all_causes()]
    lens_ids = [lens.ID for lens in all_lenses()]
    rules = [rule.name for rule in (*RULES, *ADDRESS_RULES)]
    fix_ids = "|".join(module.ID for module in fixes.all_fixes())
    peak = ref("peak")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "netlens analyze --format json",
        "description": "One object. Times (*_ns) are integer nanoseconds since 1970 UTC; other units end the name. null means unknown, or does not apply.",
        **obj(
            inputs=array(ref("input"), "The files that were read, in order."),
            quality=obj(
                "What to know before you draw conclusions.",
                first_ns=count_or_null("Earliest time in all captures."),
                last_ns=count_or_null("Latest time in all captures."),
                reasons=array(ref("reason"), "Frames by what became of them."),
                notes=array(
                    text(), "Sentences about capture loss, truncated packets, what lies outside the capture, and missing outcomes."
                ),
            ),
            clock={
                "description": "The VM's clock minus the host's, at the first packet that is in both captures. null with one capture.",
                "anyOf": [ref("clock"), {"type": "null"}],
            },
            target=obj(
                "The service in question.",
                names=array(text(), "Its names."),
                addresses=array(text(), "Its addresses."),
                guessed=boolean("Whether it was guessed, not named."),
                why=text("Where it comes from."),
            ),
            counts=obj(
                "In both captures together, each thing once; sessions are those on either wire.",
                sessions=count(),
                connections=count("To the target."),
                lookups=count(),
                exchanges=count_or_null(f"Requests to the target. {UNCOUNTABLE}"),
                exchanges_between={
                    "type": ["array", "null"],
                    "description": "How many requests there were, at least and at most, where HTTP/2 leaves that open; null where exchanges is exact, and "
                    "where nothing is known.",
                    "items": {"type": "integer", "minimum": 0},
                    "minItems": 2,
                    "maxItems": 2,
                },
                exchanges_likeliest=count_or_null(
                    "How many there were most likely, where exchanges_between says that this is in doubt: the sum of what is likeliest on each connection."
                ),
                exchanges_by_connection={
                    "description": "The same by connection of HTTP/2 on which it is in doubt; null where it is on none, and for several recordings together.",
                    "anyOf": [
                        array(
                            obj(
                                "One connection.",
                                session_id=count("In the sessions of the host's capture; of the VM's without one."),
                                least=count("Requests at least."),
                                likeliest=count("Most likely."),
                                most=count("At most."),
                            )
                        ),
                        {"type": "null"},
                    ],
                },
                in_flight_between={
                    "type": ["array", "null"],
                    "description": "How many of them were in progress at once at the peak, at least and at most; null likewise.",
                    "items": {"type": "integer", "minimum": 0},
                    "minItems": 2,
                    "maxItems": 2,
                },
                rejections=count_or_null("Those of them that were refused; null likewise."),
                refused_by_class={
                    "type": ["object", "null"],
                    "description": "Refused requests by class: what the provider said it limits; null likewise.",
                    "propertyNames": {"enum": list(CLASSES)},
                    "additionalProperties": {"type": "integer", "minimum": 1},
                },
            ),
            peaks=obj(
                "Most connections of programs to the target that were open at once. null: no capture shows it.",
                optional=("capture",),
                vm=count_or_null("Of the VM's program."),
                host=count_or_null("Of the host's own programs."),
                combined=count_or_null("Of both."),
                capture=obj("With one capture: peaks of everything in it.", connections=peak, in_flight=peak),
                upstream=obj(
                    "Most requests or connections in progress at once on the wire nearest to the provider.",
                    requests=ref("places"),
                    connections=ref("places"),
                ),
            ),
            paths=ref("paths"),
            tails=array(ref("tail_of_side"), "Connections that kept receiving for more than a second after their program had closed them."),
            limit={
                "description": "The rule that separates refused from accepted requests beyond chance. null: none does.",
                "anyOf": [
                    obj(
                        rule={"enum": rules, "description": "What is counted."},
                        unit={"enum": list(UNITS)},
                        scope={"enum": list(SCOPES)},
                        value=count("Others in progress at which a request is refused."),
                        low=count("Smallest limit that fits equally well."),
                        high=count("Largest limit that fits equally well."),
                        auc=fraction("Probability that a refused request met more others than an accepted one (AUC)."),
                        p=fraction("Probability of so good a separation by chance, after Holm's correction."),
                        tied=array({"enum": rules}, "Rules that fit equally well."),
                        misfits=count("Requests whose outcome the limit gets wrong."),
                    ),
                    {"type": "null"},
                ],
            },
            limiter={
                "description": (
                    "What the provider limits, as far as the refusals show: only its kind where no rule tells refused from accepted requests but the cause "
                    "that is named makes it likely. null: nothing tells."
                ),
                "anyOf": [
                    obj(
                        kind={"enum": ["concurrency", "rate", "volume", "quota", "overload", "queue"]},
                        unit={"enum": [*UNITS, "bytes", "answer bytes"]},
                        scope={"enum": ["party", "egress"], "description": "Whose requests are counted together."},
                        per_address=boolean("Each address of the server counts by itself."),
                        value=nullable(
                            {
                                "type": "number",
                                "description": "The limit: others in progress (concurrency), or requests (rate) or bytes (volume) in a window, from "
                                "which on a request is refused; for a bucket, tokens or bytes that come back in a minute.",
                            }
                        ),
                        low=nullable(
                            {
                                "type": "number",
                                "description": "Smallest value that fits equally well; of bytes in a window, by all that of each request may count besides, "
                                "or not count; of a quota, what was accepted before the first refusal.",
                            }
                        ),
                        high=nullable({"type": "number", "description": "Largest value that fits equally well, likewise."}),
                        window_s=nullable(seconds("Length of the window.")),
                        window={"enum": ["fixed", "sliding", "counter", "bucket", None]},
                        burst=count_or_null("Tokens, or bytes, of a full bucket."),
                        refill_s=nullable(seconds("Time for one token, or byte, to come back.")),
                        held_s=nullable(seconds("How long a request still counts after its end; null if it does not, or for other kinds.")),
                        barred_s=nullable(
                            seconds("How long everything is refused after a request ran into a limit over time; null if it is not.")
                        ),
                        changes=array(
                            obj(
                                at_ns=count(),
                                value=count(),
                                at_least={
                                    "type": "boolean",
                                    "description": "Whether it may have been higher: nothing was refused while it held.",
                                },
                            ),
                            "From when on which value held, where it changed during the recording; else empty.",
                        ),
                        models=array(
                            count_or_null(),
                            "The limits of large requests and of small ones, where they go to models that count by themselves (null for one of which no "
                            "request was refused at a limit); else empty.",
                        ),
                        classes=array({"enum": list(CLASSES)}, "Classes of the refusals that it was fitted to."),
                        auc=nullable(fraction("Probability that a refused request met more than an accepted one (AUC).")),
                        p=nullable(fraction("Upper bound on the probability of so good a fit by chance, corrected for the search.")),
                        tied=array(text(), "Rules that fit equally well."),
                    ),
                    {"type": "null"},
                ],
            },
            limiter_probabilities={
                "description": "How likely each kind of limiter is, with 1 to 9 refusals (docs/calibration.md); null with none or more.",
                "anyOf": [obj(**{kind: fraction(f"That it is of the kind {kind}.") for kind in odds.KINDS}), {"type": "null"}],
            },
            hypotheses={
                **array(
                    obj(
                        id={"enum": ids},
                        cause={"enum": [cause.LETTER for cause in causes.all_causes()], "description": "Its letter."},
                        claim=text("What it says."),
                        verdict={"enum": ["supported", "refuted", "undecided"]},
                        attributable_fraction=nullable(fraction("Share of the refusals that would not have met the limit without it.")),
                        p=nullable(fraction("Of the rule that it is based on.")),
                        probability=nullable(
                            fraction("How likely it is, with 1 to 9 refusals (docs/calibration.md); null with none or more.")
                        ),
                        evidence=array(
                            obj(
                                text=text("A statement."),
                                detail=text("Its statistics, such as AUC and p; may be empty."),
                                frames=array(obj(file=text(), frame=positive("As Wireshark numbers it.")), "Where it can be seen."),
                            )
                        ),
                        needs=nullable(text("What an undecided cause needs to be decided.")),
                    ),
                    "Every cause, in the order of the report.",
                ),
                "minItems": len(ids),
            },
            findings=array(
                obj(
                    "What a lens found; the gravest first.",
                    id={"enum": lens_ids, "description": "What it is; see the reference of findings."},
                    lens={"enum": lens_ids, "description": "Whose finding."},
                    severity={
                        "enum": list(SEVERITIES),
                        "description": "By consequence: something failed or somebody waited, may come to it, is a fact.",
                    },
                    text=text("One sentence, the number first."),
                    frames=array(obj(file=text(), frame=positive("As Wireshark numbers it.")), "Where it can be seen: the first few."),
                    frames_in_all=count("Frames that show it; netlens extract --finding ID takes out all."),
                    connections=array(
                        count(), "Numbers of connections that carry these frames, the worst first; empty for what is not TCP."
                    ),
                    filter=text("Display filter for Wireshark that shows these frames; empty where there are none."),
                    values={"type": "object", "description": "The numbers in the sentence and more, by name."},
                    advice=text("What to do; empty where that is not known."),
                ),
                "What is wrong in the capture: names, handshakes, answers, delivery, time, leaks, and what cannot be seen.",
            ),
            cause={"enum": [*ids, None], "description": "The supported cause with the largest share. null: none is supported."},
            fixes=array(
                obj(
                    "A replay of the recorded requests with one change: a prediction, not a promise.",
                    id={"type": "string", "pattern": rf"^({fix_ids})(-\d+)?$"},
                    title=text("What is done."),
                    command=nullable(text("How to apply it.")),
                    program=nullable(
                        text("What the program is started with then, beside the command. null: as before, or the command is it.")
                    ),
                    caveats=array(text(), "What to know before you do it."),
                    note=text("What to know about the prediction; may be empty."),
                    rejections_before=count("As recorded."),
                    rejections_after=count_or_null(
                        "Predicted, with a provider that notices an answer that is broken off by its writes. null: not predicted."
                    ),
                    rejections_at_best=count_or_null("The same with a provider that notices it at once."),
                    replayed_before=count_or_null("Refusals in the replay without a change; near rejections_before if the replay is good."),
                    added_wait_s=nullable(seconds("Waiting in the program's own queue, in total.")),
                    mean_wait_s=nullable(seconds("The same per request.")),
                    retry_wait_before_s=nullable(seconds("Waiting between refusal and acceptance, in total, as recorded.")),
                    retry_wait_after_s=nullable(seconds("The same, predicted.")),
                    peak_before=count_or_null("Most requests or connections in progress at once in one group that is counted together."),
                    peak_after=count_or_null("The same, predicted."),
                    confidence={"enum": ["good", "low", None]},
                    by_side={
                        "type": "object",
                        "description": "Per side: refusals before and after.",
                        "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2},
                    },
                    recommended=boolean(
                        "Among variants of one fix (cap-1, cap-2 ...): the recommended one. The best of all fixes is best_fix."
                    ),
                ),
                "Best first. Empty if nothing was refused.",
            ),
            best_fix=nullable(text("Id of the first fix that is predicted to leave fewer refusals. null: none is.")),
            unmatched_rejections=array(
                obj(side=text(), time_ns=count("By the clock of its own side."), line=positive("Of the error log.")),
                "Refusals in an error log that match no request of the capture; if there are many, the first ones.",
            ),
            chains={
                "type": "object",
                "description": "Connections to the target that leave, by the relays they went over, in order, joined by '>'; 'direct' without any.",
                "propertyNames": {"pattern": f"^(direct|({kinds})(>({kinds}))*)$"},
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            parties=array(
                obj(
                    name=text("As texts call it: VM, host, the name of a further capture, or what it is and its address."),
                    vantage=nullable(text("The capture that was made there; null if there is none.")),
                    addresses=array(text(), "Its addresses, as far as they were seen before translation."),
                    process=nullable(text("The program, where samples of sockets tell; null for a machine as a whole.")),
                    requests=count_or_null(f"Requests to the target. {UNCOUNTABLE}"),
                    refused=count_or_null("Those of them that were refused; null likewise."),
                ),
                "Whose requests the provider may count together: captured machines, and others that the host was seen to carry for.",
            ),
            budget=obj(
                "Where the wall time of requests went; each time is an integer, and phases that are not null add up to the total exactly.",
                groups=array(_group(), "By server, party and program; the target first, then by time."),
                requests=array(_divided(), "Requests to the target, in order of their beginning."),
                left_out=count("Requests to the target beyond those listed."),
            ),
            sides={
                "type": "object",
                "description": "What each capture shows by itself. The key is its side, or 'capture' if the side was not given.",
                "propertyNames": {"enum": ["vm", "host", "capture"]},
                "additionalProperties": obj(
                    vantage=nullable({"enum": ["vm", "host"]}),
                    first_ns=count_or_null(),
                    last_ns=count_or_null(),
                    connections=count("To the target."),
                    peaks=obj("As the capture shows it: in_flight has the refused ones with it.", connections=peak, in_flight=peak),
                    paths=ref("paths"),
                    tails=array(ref("tail")),
                    notes=array(text()),
                ),
            },
        ),
        "$defs": {
            "input": obj(
                path=text(),
                container=text("pcap or pcapng."),
                frames=count(),
                bytes=count("Of the file."),
                snaplen=count(),
                link_types=array(count(), "As tcpdump.org numbers them."),
                vantage=nullable(text("vm, host, or the name of a further capture.")),
                warnings=array(text()),
            ),
            "reason": obj(reason=text(), frames=count(), first_frame=count(), meaning=text(), side=nullable({"enum": ["vm", "host"]})),
            "clock": obj(
                offset_s=nullable({"type": "number"}),
                low_s=nullable({"type": "number", "description": "The offset is certainly not less."}),
                high_s=nullable({"type": "number", "description": "The offset is certainly not more."}),
                drift_ppm=nullable({"type": "number", "description": "How much faster the VM's clock runs. null: unknown."}),
                method=text("What it is based on."),
                packets=count("How many packets, or bounds, it is based on."),
                steps=array(
                    obj(at_ns=count(), size_s={"type": "number"}, low_s={"type": "number"}, high_s={"type": "number"}),
                    "When a clock was set.",
                ),
                frames=obj(vm=array(positive()), host=array(positive())),
                note=text("One sentence for people."),
            ),
            "peak": obj(count=count(), from_ns=count(), to_ns=count(), frames=array(positive(), "Frames in which these began.")),
            "places": obj(vm=count(), host=count(), combined=count()),
            "paths": {
                "type": "object",
                "description": "Connections to the target by path.",
                "propertyNames": {"enum": ["direct", "nat", "sshuttle"]},
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            "tail": obj(**tail()),
            "tail_of_side": obj(**tail(), side=nullable({"enum": ["vm", "host"]})),
        },
    }


def _divided() -> Schema:
    """A request of the time budget: the columns of its table."""
    from netlens.tables import BUDGET

    kinds = {
        "int64": {"type": "integer"}, "nullable_int64": nullable({"type": "integer"}), "string": nullable({"type": "string"}), "bool": {"type": "boolean"},
        "list<string>": array(text()), "list<int64>": array({"type": "integer", "minimum": 0}),
    }  # fmt: skip
    return obj(**{c.name: described(kinds[c.dtype], c.meaning) for c in BUDGET if c.name not in ("budget_id", "target")})


def _group() -> Schema:
    """Requests that belong together in the time budget."""
    from netlens.chains.divided import PHASES
    from netlens.tables import BUDGET

    meaning = {c.name: c.meaning for c in BUDGET}
    return obj(
        server=text(meaning["server"]),
        target=boolean(meaning["target"]),
        party=text(meaning["party"]),
        process=nullable(text(meaning["process"])),
        requests=count(),
        unanswered=count("Of them without an answer in the capture."),
        total_ns=count("Of all of them together, as the phases."),
        **{f"{phase}_ns": count_or_null(meaning[f"{phase}_ns"]) for phase in PHASES},
        relays_ns={
            "type": "object",
            "description": "Time of each relay that was measured.",
            "additionalProperties": {"type": "integer", "minimum": 0},
        },
    )


def tail() -> Schema:
    return {
        "connection_id": count(),
        "session_id": count("The session that received."),
        "tail_s": seconds(),
        "bytes": count_or_null("null: the FIN is in one half of the connection, the payload in the other."),
        "frames": array(positive(), "First and last of the connection."),
    }


def closed(schema: Any) -> Any:
    """The same with no field allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if out.get("type") == "object" and "properties" in out:
        out.setdefault("additionalProperties", False)
    return out


def fields(schema: Schema) -> list[tuple[str, str, str]]:
    """(dotted name, type, meaning) of every field, in order, for a page."""
    rows: list[tuple[str, str, str]] = []
    _walk(schema, schema, "", rows)
    return rows


def _walk(root: Schema, schema: Schema, name: str, rows: list[tuple[str, str, str]]) -> None:
    inner, empty = resolved(root, schema)
    if name:
        rows.append((name, _type(inner) + (" or null" if empty else ""), schema.get("description", inner.get("description", ""))))
    if inner.get("type") == "array":
        _members(root, resolved(root, inner["items"])[0], f"{name}[]", rows)
    else:
        _members(root, inner, name, rows)


def _members(root: Schema, inner: Schema, name: str, rows: list[tuple[str, str, str]]) -> None:
    for key, value in inner.get("properties", {}).items():
        _walk(root, value, f"{name}.{key}" if name else key, rows)
    extra = inner.get("additionalProperties")
    if isinstance(extra, dict) and "properties" in extra:
        _members(root, extra, f"{name}.*", rows)


def resolved(root: Schema, schema: Schema) -> tuple[Schema, bool]:
    """The schema behind references, and whether it may be null."""
    if "anyOf" in schema:
        some = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return resolved(root, some[0])[0], len(some) < len(schema["anyOf"])
    if "$ref" in schema:
        return root["$defs"][schema["$ref"].rpartition("/")[2]], False
    return schema, False


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join("null" if each is None else f"`{each}`" for each in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        items = schema["items"]
        inner = "`" + "`, `".join(items["enum"]) + "`" if "enum" in items else items.get("type", "object")
        return f"array of {inner}"
    return str(kind)


# --- the words that schemas are made of ---------------------------------------------------------------------------------------------------


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def obj(description: str = "", /, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    out: Schema = {"type": "object", "properties": properties, "required": [name for name in properties if name not in optional]}
    return {"description": description, **out} if description else out


def array(items: Schema, description: str = "") -> Schema:
    return described({"type": "array", "items": items}, description)


def text(description: str = "") -> Schema:
    return described({"type": "string"}, description)


def boolean(description: str = "") -> Schema:
    return described({"type": "boolean"}, description)


#: why a number of requests is not known
UNCOUNTABLE = "null where requests cannot be counted (HTTP/2 without keys, packets cut short)."


def count(description: str = "") -> Schema:
    return described({"type": "integer", "minimum": 0}, description)


def positive(description: str = "") -> Schema:
    return described({"type": "integer", "minimum": 1}, description)


def fraction(description: str = "") -> Schema:
    return described({"type": "number", "minimum": 0, "maximum": 1}, description)


def seconds(description: str = "") -> Schema:
    return described({"type": "number", "minimum": 0}, description)


def count_or_null(description: str = "") -> Schema:
    return nullable(count(description))


def nullable(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema
