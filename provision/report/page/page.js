// The filter by architecture. Its state is the address: #arch=NAME. Without this script everything is shown.
"use strict";
(function () {
  var form = document.querySelector(".filter");
  if (!form) { return; }
  form.hidden = false;
  var names = Array.from(form.elements.arch, function (e) { return e.value; });

  function each(selector, action) { document.querySelectorAll(selector).forEach(action); }

  // belongs: what names no architecture is of the whole cluster and always shown.
  function belongs(archs, arch) { return !arch || !archs || archs.split(" ").includes(arch); }

  function show(arch) {
    form.elements.arch.value = arch;
    each("[data-archs]", function (e) { e.hidden = !belongs(e.dataset.archs, arch); });
    each("[data-square]", function (e) { e.classList.toggle("off", !belongs(e.dataset.square, arch)); });
    each("[data-view]", function (e) { e.hidden = e.dataset.view !== arch; });
    var note = document.getElementById("filtered");
    note.hidden = !arch;
    note.textContent = arch ? "Shown is what touches " + arch + ". The verdict and the sums above the maps are of the whole run." : "";
  }

  function follow() {
    var hash = decodeURIComponent(location.hash.slice(1));
    if (hash.startsWith("arch=")) {
      var arch = hash.slice("arch=".length);
      show(names.includes(arch) ? arch : "");
      return;
    }
    var target = hash && document.getElementById(hash);
    if (target && target.hidden) { // a link to what the filter hides
      show("");
      target.scrollIntoView();
    }
  }

  form.addEventListener("change", function () { location.hash = "arch=" + form.elements.arch.value; });
  form.addEventListener("submit", function (e) { e.preventDefault(); });
  window.addEventListener("hashchange", follow);
  show("");
  follow();

  // On paper nothing can be opened.
  window.addEventListener("beforeprint", function () {
    each("details.evidence, details.untried", function (e) { e.open = true; });
  });
})();
