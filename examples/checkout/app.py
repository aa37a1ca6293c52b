"""A function that waits: it asks a price service twice and adds up a basket.

Nearly all of its time passes in the network, so more memory makes it hardly
any faster. The service's address is in the environment variable PRICE_API_URL.
"""

import http.client
import json
import os
from decimal import ROUND_HALF_UP, Decimal
from urllib.parse import urlencode, urlsplit

CENT = Decimal("0.01")
TIMEOUT_SECONDS = 5


class PriceApi:
    """A client that keeps its connection from one invocation to the next."""

    def __init__(self, url):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"PRICE_API_URL is not an http(s) URL: {url!r}")
        connect = (
            http.client.HTTPSConnection
            if parts.scheme == "https"
            else http.client.HTTPConnection
        )
        self._connection = connect(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
        self._prefix = parts.path.rstrip("/")

    def get(self, path, **query):
        target = f"{self._prefix}{path}?{urlencode(query, doseq=True)}"
        try:
            return self._exchange(target)
        except (ConnectionError, http.client.RemoteDisconnected):
            # While the environment was frozen the server may have closed the
            # connection. A GET can be repeated, on a new one.
            self._connection.close()
            return self._exchange(target)

    def _exchange(self, target):
        self._connection.request("GET", target)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"GET {target}: {response.status} {body.decode().strip()}")
        return json.loads(body)


# Made once for each environment, during init.
api = PriceApi(os.environ["PRICE_API_URL"])


def handler(event, context):
    items = event["items"]
    prices = api.get("/prices", sku=[item["sku"] for item in items])
    tax = api.get("/taxes", country=event["country"])
    lines = [line(item, Decimal(prices[item["sku"]])) for item in items]
    net = sum(total for _, total in lines)
    vat = (net * Decimal(tax["rate"])).quantize(CENT, ROUND_HALF_UP)
    receipt = [text for text, _ in lines]
    receipt += [summary("Tax", vat), summary("Total", net + vat)]
    return {
        "requestId": context.aws_request_id,
        "net": str(net),
        "tax": str(vat),
        "total": str(net + vat),
        "receipt": "\n".join(receipt),
    }


def line(item, price):
    total = price * int(item["quantity"])
    return f"{item['quantity']:>3} x {item['sku']:<16}{total:>12}", total


def summary(label, amount):
    return f"{label:<22}{amount:>12}"
