"""A cart, which is changed in place."""

from __future__ import annotations

from dataclasses import dataclass

from base import BaseHandler, FormHandler

#: How many of a kind fit into the cart.
MOST = 9


@dataclass(frozen=True)
class Tea:
    """Something to buy."""

    title: str
    note: str
    #: In cents, since fractions do not add up in floating point.
    price: int


TEAS = {
    "assam": Tea("Assam", "Black, malty, strong", 640),
    "sencha": Tea("Sencha", "Green, fresh, a little sweet", 820),
    "oolong": Tea("Oolong", "Half way, floral", 980),
    "rooibos": Tea("Rooibos", "Red, mild, no caffeine", 520),
}

#: What the buttons do to the number of a tea.
STEPS = {"add": 1, "less": -1, "remove": -MOST}


def money(cents: int) -> str:
    """An amount as people write it."""
    return f"€ {cents // 100}.{cents % 100:02}"


class ShopHandler(BaseHandler):
    def get(self) -> None:
        # Looking puts nothing into the session, so who only looks gets none.
        cart: dict[str, int] = self.session.get("cart", {})
        lines = [
            (key, TEAS[key], count, money(TEAS[key].price * count)) for key, count in cart.items()
        ]
        total = money(sum(TEAS[key].price * count for key, count in cart.items()))
        self.show("shop.html", teas=TEAS, money=money, lines=lines, total=total, most=MOST)


class CartHandler(FormHandler):
    def act(self) -> None:
        step, _, key = self.text("do").partition(" ")
        if step not in STEPS or key not in TEAS:
            self.abort(400)
        if "cart" not in self.session:
            self.session["cart"] = {}
        cart: dict[str, int] = self.session["cart"]
        wanted = cart.get(key, 0) + STEPS[step]
        if wanted > MOST:
            return self.tell(f"{MOST} of a kind is all that we have.", "warning")
        if wanted > 0:
            cart[key] = wanted
        else:
            cart.pop(key, None)
        # The session cannot see a change inside of one of its values, and has to be told.
        self.session.mark_changed()
        if step == "add" and wanted == 1:
            self.tell(f"{TEAS[key].title} is in your cart.")
        elif wanted <= 0:
            self.tell(f"{TEAS[key].title} is back on the shelf.", "info")
        return None
