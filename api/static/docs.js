// Starts Swagger UI. The key that is entered stays in the page's memory: it is gone when the page is.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// The document keeps these apart, as programs that try every value of a parameter come to grief on them. A person can try them.
const parametersApart = ["x-wait", "x-idempotency-key"];

async function start() {
  const spec = await (await fetch("openapi.json")).json();
  for (const operation of Object.values(spec.paths).flatMap(Object.values)) {
    const apart = parametersApart.map((name) => operation[name]).filter(Boolean);
    if (apart.length) operation.parameters = [...(operation.parameters ?? []), ...apart];
  }
  SwaggerUIBundle({
    dom_id: "#reference",
    spec,
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // else the document's address would be told to somebody else's server
  });
}

start();
