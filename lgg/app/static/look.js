(layer, channel, opacity) => {
    document.dispatchEvent(new CustomEvent("look-chosen", {detail: {layer, channel, opacity}}));
}
