// Nodes of a system as a picture, in words and in a table.
import { Badge, Choice, Table } from "./components.js";
import { html, useState } from "./ui.js";

const CELL = 30;
const GAP = 4;
const MOST_COLUMNS = 32;
/** So many can be drawn wide enough for their names. */
const MOST_NAMED = 48;
const NAMED = 84;
const MOST_NAMED_COLUMNS = 12;
const LONGEST_NAME = 9;

/** What a node's state comes to: `[name, sign, words of Slurm]`; the first that fits counts. */
const GROUPS = [
  ["down", "✕", ["DOWN", "FAIL", "FAILING", "ERROR", "NOT_RESPONDING", "UNKNOWN", "INVAL"]],
  ["drained", "–", ["DRAIN", "DRAINED", "DRAINING", "MAINT", "MAINTENANCE", "BLOCKED"]],
  ["powered down", "z", ["POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "POWERING_UP", "REBOOT_ISSUED", "REBOOT"]],
  ["reserved", "R", ["RESERVED"]],
  ["allocated", "●", ["ALLOCATED", "COMPLETING"]],
  ["mixed", "◐", ["MIXED"]],
  ["idle", "○", ["IDLE", "PLANNED"]],
];
const OTHER = ["other", "?", []];

/** The group of a node; a star behind a state says that it does not respond. */
function groupOf({ State }) {
  const states = (State ?? []).map((state) => state.toUpperCase());
  if (states.some((state) => state.endsWith("*"))) return GROUPS[0];
  return GROUPS.find(([, , words]) => words.some((word) => states.includes(word))) ?? OTHER;
}

const classOf = ([name]) => `node ${name.split(" ")[0]}`;

/** How many there are of each group, in words: `4 nodes: 3 idle, 1 down`. */
function inWords(nodes, groups) {
  const counts = groups.map(([name, count]) => `${count} ${name}`).join(", ");
  return `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}: ${counts}`;
}

function Sign({ group, x = 0, y = 0, width = CELL, name, title }) {
  const middle = y + CELL / 2;
  return html`<g class=${classOf(group)}>${title && html`<title>${title}</title>`}
    <rect x=${x + 0.5} y=${y + 0.5} width=${width - 1} height=${CELL - 1} rx="5" />
    <text x=${x + CELL / 2} y=${middle} text-anchor="middle" dominant-baseline="central">${group[1]}</text>
    ${name && html`<text class="name" x=${x + CELL - 4} y=${middle} dominant-baseline="central">${name}</text>`}</g>`;
}

/** The end of a name tells nodes apart. */
const shortened = (name) => (name.length > LONGEST_NAME ? `…${name.slice(1 - LONGEST_NAME)}` : name);

function Picture({ nodes, label }) {
  const named = nodes.length <= MOST_NAMED;
  const columns = Math.min(named ? MOST_NAMED_COLUMNS : MOST_COLUMNS, nodes.length);
  const cell = named ? NAMED : CELL;
  const [across, down] = [cell + GAP, CELL + GAP];
  const width = columns * across - GAP;
  const height = Math.ceil(nodes.length / columns) * down - GAP;
  return html`<svg class="nodes" role="img" aria-label=${label} viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height}>
    ${nodes.map((node, nth) => html`<${Sign} key=${node.NodeName} group=${groupOf(node)} x=${(nth % columns) * across}
      y=${Math.floor(nth / columns) * down} width=${cell} name=${named && shortened(node.NodeName)} title=${`${node.NodeName}: ${(node.State ?? []).join(", ")}`} />`)}
  </svg>`;
}

const COLUMNS = [
  { key: "name", title: "Node", cell: ({ NodeName }) => NodeName },
  { key: "state", title: "State", cell: ({ State }) => (State ?? []).join(", ") },
  { key: "partitions", title: "Partitions", cell: ({ Partitions }) => (Partitions ?? []).join(", ") },
  { key: "features", title: "Features", kind: "wide", cell: ({ ActiveFeatures }) => (ActiveFeatures ?? []).join(", ") },
];

/** All of it; `nodes` as the API tells them. */
export function Nodes({ nodes }) {
  const [partition, choose] = useState("");
  const partitions = [...new Set(nodes.flatMap(({ Partitions }) => Partitions ?? []))].sort();
  const shown = nodes.filter(({ Partitions }) => !partition || Partitions?.includes(partition));
  const counted = [...GROUPS, OTHER]
    .map((group) => [group[0], shown.filter((node) => groupOf(node) === group).length, group])
    .filter(([, count]) => count);
  if (!nodes.length) return html`<p class="empty">There are no nodes.</p>`;
  return html`<div class="bar"><${Choice} label="Partition" value=${partition} choose=${choose}
      options=${[["", "All"], ...partitions.map((name) => [name, name])]} /></div>
    <${Picture} nodes=${shown} label=${inWords(shown, counted)} />
    <ul class="legend" aria-label="Legend">${counted.map(([name, count, group]) => html`<li key=${name}>
      <svg width="20" height="20" viewBox=${`0 0 ${CELL} ${CELL}`} aria-hidden="true"><${Sign} group=${group} /></svg> ${name} <${Badge}>${count}</${Badge}></li>`)}</ul>
    <details><summary>The nodes as a table</summary>
      <${Table} caption="Nodes" columns=${COLUMNS} rows=${shown} id=${({ NodeName }) => NodeName} /></details>`;
}
