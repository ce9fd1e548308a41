// The views, in the order of the navigation; the first is the one to begin with.
import files from "./files.js";
import jobs from "./jobs.js";
import systems from "./systems.js";
import tasks from "./tasks.js";

export const VIEWS = [tasks, jobs, files, systems];
