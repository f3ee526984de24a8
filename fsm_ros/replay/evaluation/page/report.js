// SPDX-License-Identifier: Apache-2.0
"use strict";
for (const viewer of document.querySelectorAll(".viewer")) {
  const { frames, names } = JSON.parse(viewer.querySelector(".frames").textContent);
  const part = (selector) => viewer.querySelector(selector);
  const stage = part(".stage"), wipe = part(".wipe"), slider = part(".frame");
  const labels = [...viewer.querySelectorAll(".choices label")];
  // What a frame lacks is grey.
  const missing = "data:image/gif;base64,R0lGODlhAQABAIAAAMDAwAAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==";
  const source = (data) => (data ? `data:image/png;base64,${data}` : missing);

  const show = () => {
    const place = Number(slider.value), frame = frames[place];
    const choice = Number(part(".choices input:checked").value);
    const told = `${names[choice]}, ${frame.when}`;
    part(".truth").src = source(frame.truth);
    part(".truth").alt = `truth, ${frame.when}`;
    part(".answer").src = source(frame.answers[choice]);
    part(".answer").alt = frame.answers[choice] ? told : `${told}: not rendered`;
    part(".side.right").textContent = names[choice];
    part(".count").textContent = `${place + 1} of ${frames.length}`;
    part(".when").textContent = frame.when;
    slider.setAttribute("aria-valuetext", frame.when);
    labels.forEach((label, index) => {
      label.querySelector("img").src = source(frame.answers[index]);
      label.querySelector(".score").textContent = frame.scores[index];
    });
  };
  const uncover = () => {
    stage.style.setProperty("--wipe", `${wipe.value}%`);
    wipe.setAttribute("aria-valuetext", `${Math.round(wipe.value)} percent truth`);
  };
  wipe.addEventListener("input", uncover);
  slider.addEventListener("input", show);
  part(".choices").addEventListener("change", show);
  // A page that is reloaded may keep the old places of its sliders.
  uncover();
  show();
}
