"""What the description cannot say: a nickname is taken once. Who is sent again gets another one."""

import uuid

import schemathesis

taken = set()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives a person whose nickname was sent before another nickname of the longest length."""
    for key in ("nickname", "apelido"):
        if isinstance(case.body, dict) and isinstance(case.body.get(key), str):
            if case.body[key] in taken:
                case.body = {**case.body, key: uuid.uuid4().hex}
            taken.add(case.body[key])
