() => document.addEventListener("paste", event => {
    const input = document.querySelector("#upload input[type=file]"), files = event.clipboardData?.files;
    if (!input || !files?.length || input.closest("[role=tabpanel]")?.offsetParent === null) return;
    event.preventDefault();
    input.files = files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
})
