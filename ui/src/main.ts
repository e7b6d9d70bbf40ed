import { mount } from "svelte";

import "./styles.css";
import { live } from "./api/stream.svelte";
import App from "./App.svelte";

const target = document.getElementById("app");
if (!target) throw new Error("index.html has no #app");
live.start();
mount(App, { target });
