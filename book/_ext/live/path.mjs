// Six steps that drive the live network: each asks for a prediction before it shows what happens.

import { NIW, SIGMA, short } from "./drawing.mjs";
import { DEFAULT } from "./settings.mjs";

const GROWS = `|${NIW}| grows`, SHRINKS = `|${NIW}| shrinks`, STAYS = "nothing much";
const FOREVER = "both grow for ever", RECOVERS = "both shoot up and recover";

// `right`: the place of the answer. `seen`: what to say of the run, from its finding.
export const STEPS = [
  {
    name: "Raise the noise",
    asks: `A random number of strength ${SIGMA} = 15 enters the first layer; it says nothing of the ` +
      "image. What will training do?",
    answers: [GROWS, SHRINKS, STAYS],
    right: 1,
    setting: { sigma_eps: 15 },
    seen: ({ w_end }) => `|${NIW}| fell to ${short(w_end)} of its start. The loss curves upwards in the ` +
      "direction of the noise, so each step turns the noise down: <b>decay</b>.",
  },
  {
    name: "Cross 2",
    asks: `A step takes off ${NIW} a share that grows as ${SIGMA}². Where it takes off more than ` +
      `twice of what is there, ${NIW} ends farther out than it was. Now ${SIGMA} = 53. What next?`,
    answers: [FOREVER, RECOVERS, SHRINKS],
    right: 1,
    setting: { sigma_eps: 53 },
    seen: ({ w_peak, w_end, loss_peak }) => `|${NIW}| rose to ${short(w_peak)} times its start and the ` +
      `loss to ${short(loss_peak)} times; that flattened the landscape, and |${NIW}| ended at ` +
      `${short(w_end)}: a <b>catapult</b>.`,
  },
  {
    name: "Cross 4",
    asks: "The linear model recovers only while two scaled weights, that of the noise and that " +
      `behind it, have squares that sum to less than 4. Now ${SIGMA} = 120. Does the network recover?`,
    answers: ["it recovers", "it does not"],
    right: 1,
    setting: { sigma_eps: 120 },
    seen: () => "It does not: the loss has left all bounds. <b>Divergent</b>. The colours on the " +
      "slider said so beforehand: they come from a network of the same weights that sees the noise " +
      "and no image.",
  },
  {
    name: "A late catapult",
    asks: `Three hidden layers, ${SIGMA} = 100: at first the loss hardly curves towards the noise. ` +
      "When will the weights shoot up?",
    answers: ["at once", "after a while", "never"],
    right: 1,
    setting: { sigma_eps: 100, depth: 3 },
    seen: ({ w_peak, at_peak }) => `|${NIW}| was largest, ${short(w_peak)} times its start, at step ` +
      `${at_peak}: the network learned, the curvature rose with it, and only then came the catapult.`,
  },
  {
    name: "Noise that is remembered",
    asks: "Now all labels are wrong, and each image keeps its random number for ever. The number can " +
      "tell images apart. What will training do?",
    answers: [GROWS, SHRINKS, STAYS],
    right: 0,
    setting: { sigma_eps: 1, kind: "fixed", wrong: 1, eta: 0.2, epochs: 40 },
    seen: ({ w_end }) => `|${NIW}| ended at ${short(w_end)} times its start: where there is something ` +
      "to memorise, a fixed number helps, and the network turns the noise up. Choose “new each " +
      "epoch” to see it go.",
  },
  {
    name: "Your turn",
    asks: "Find the border between decay and catapult with the slider, then make the network wider " +
      "or deeper. Does the border move the way the colours say?",
    answers: [],
    setting: {},
  },
];

export function mountPath(root, choose) {
  let k = 0, guess = null, waiting = false;

  function show() {
    const { name, asks, answers } = STEPS[k];
    guess = null;
    waiting = false;
    const options = answers.map((answer, i) => `<label><input type="radio" name="live-guess" ` +
      `value="${i}"> ${answer}</label>`).join("");
    root.innerHTML = `<p class="steps" role="group" aria-label="Six steps">` +
      STEPS.map((step, i) => `<button type="button" value="${i}" aria-label="Step ${i + 1}: ` +
        `${step.name}" ${i === k ? 'aria-current="step"' : ""}>${i + 1}</button>`).join("") +
      `<strong>${name}</strong></p><p class="asks">${asks}</p>` +
      (answers.length ? `<fieldset><legend>Your prediction</legend>${options}</fieldset>` : "") +
      '<p class="seen" role="status" aria-live="polite"></p>';
  }
  root.addEventListener("change", ({ target }) => {
    if (!target.matches("[name=live-guess]")) return;
    guess = Number(target.value);
    waiting = true;
    root.querySelector(".seen").textContent = "Watch …";
    choose({ ...DEFAULT, ...STEPS[k].setting });
  });
  root.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    k = Number(button.value);
    show();
    root.querySelector("[aria-current]").focus();
  });
  show();

  // A run is done: the one that was asked for answers the question.
  function finished({ setting, course, found }) {
    const asked = { ...DEFAULT, ...STEPS[k].setting };
    if (!waiting || Object.keys(asked).some((name) => asked[name] !== setting[name])) return;
    waiting = false;
    const { right, seen } = STEPS[k];
    const at_peak = course.step[course.w_ni.indexOf(Math.max(...course.w_ni))];
    root.querySelector(".seen").innerHTML = (guess === right ? "As you said. " : "Not this time. ") +
      seen({ ...found, at_peak }) +
      (k + 1 < STEPS.length ? ` <button type="button" value="${k + 1}">Next step</button>` : "");
  }
  return { finished };
}
