"use strict";
// Kinds of work for Node.js; workload/main.go has those of Go.
const http = require("node:http");
const { createHash } = require("node:crypto");

function fetch(ms) {
  return new Promise((resolve, reject) => {
    http.get(`${process.env.SERVICE_URL}?ms=${ms}`, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(JSON.parse(text)));
    }).on("error", reject);
  });
}

function spin(times) {
  let sum = Buffer.alloc(64);
  for (let i = 0; i < times * 400; i++) sum = createHash("sha256").update(sum).digest();
}

const orders = Array.from({ length: 3000 }, (_, i) => ({ id: i, name: `order ${i}`, items: [1, 2, 3], total: i * 1.1 }));

const work = {
  json: () => {
    for (let i = 0; i < 5; i++) JSON.parse(JSON.stringify(orders));
  },
  mix: async () => {
    for (let i = 0; i < 3; i++) {
      await fetch(15);
      spin(5);
    }
  },
  overlap: async () => {
    const fetched = fetch(40);
    spin(14);
    await fetched;
  },
  objects: () => {
    const map = new Map();
    for (let i = 0; i < 60000; i++) map.set(`key ${i}`, { i, list: [i, i + 1] });
    return map.size;
  },
};

exports.handler = async (event) => {
  const used = process.cpuUsage();
  await work[event.do]();
  return { cpu_ms: (used.user + used.system) / 1000 };
};
