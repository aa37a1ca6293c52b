"use strict";
// A function whose init is heavy: before it can render its first invoice it
// loads every tax rate, every language and every template it might ever need.
// Rendering one then takes about a millisecond and a single entry of each.

const locales = require("./lib/locales");
const taxes = require("./lib/taxes");
const templates = require("./lib/templates");

exports.handler = async (event, context) => {
  const { kind, language, country, region, category, lines } = event;
  const locale = locales[language];
  if (!locale) throw new RangeError(`no language ${JSON.stringify(language)}`);
  const rate = taxes.rate(country, region, category);
  const net = lines.reduce((sum, line) => sum + line.quantity * line.cents, 0);
  const tax = Math.round(net * rate);
  const document = templates.render(kind, language, {
    number: context.awsRequestId.slice(0, 8),
    date: locale.date(new Date(event.date)),
    lines: lines.map((line) => ({ ...line, total: locale.money(line.quantity * line.cents) })),
    net: locale.money(net),
    rate: locale.percent(rate),
    tax: locale.money(tax),
    total: locale.money(net + tax),
  });
  return { document, net, tax, total: net + tax };
};
