// Keys go to the console from the beginning, without a click into it. Runs after textual.js, which makes the terminal.
addEventListener("load", () => document.querySelector(".xterm-helper-textarea")?.focus());
