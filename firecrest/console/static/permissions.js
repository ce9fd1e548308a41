// Permissions of files, in words.

const OTHERS = "others";

/**
 * What a row of a listing permits: `{rights: [[what, who]], remarks}`, both for people.
 *
 * `row` has `type`, `permissions` (`rwxr-x---`), `user` and `group`.
 */
export function described({ type, permissions, user, group }) {
  const directory = type === "d";
  const classes = [[user, 0], [`group ${group}`, 3], [OTHERS, 6]];
  const may = (position, letters) => {
    const who = classes.filter(([, first]) => letters.includes(permissions[first + position])).map(([name]) => name);
    return who.length === classes.length ? "everyone" : who.join(", ") || "nobody";
  };
  const rights = [
    [directory ? "list" : "read", may(0, "r")],
    [directory ? "change" : "write", may(1, "w")],
    [directory ? "enter" : "run", may(2, "xst")],
  ];
  return { rights, remarks: remarks(permissions, directory, user, group) };
}

function remarks(permissions, directory, user, group) {
  const found = [];
  if ("sS".includes(permissions[2])) found.push(`runs as ${user}`);
  if ("sS".includes(permissions[5])) {
    found.push(directory ? `new files belong to group ${group}` : `runs as group ${group}`);
  }
  if ("tT".includes(permissions[8])) found.push("only owners delete");
  if (permissions[9] === "+") found.push("more rules apply (ACL)");
  return found;
}

/** The rights in one line: `read everyone · write alice`; what nobody may is left out. */
export function summary(row) {
  if (row.type === "l") return "as what it leads to";
  const { rights, remarks: more } = described(row);
  const told = rights.filter(([, who]) => who !== "nobody").map(([what, who]) => `${what}: ${who}`);
  return [...(told.length ? told : ["nobody may do anything"]), ...more].join(" · ");
}
